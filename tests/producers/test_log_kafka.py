
import pytest
from crewmem_producers.kafka_admin import kafka_admin
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.settings import KafkaSettings
from producers.conformance_log import LogConformance, OpenLog

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: str, namespace: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, source="test")


class MadeLog(KafkaLog):
    """A log whose topic is made when it starts, as the conformance suite wants it."""

    def __init__(self, settings: KafkaSettings, *, topic: str, new_partitions: int) -> None:
        super().__init__(settings, topic=topic)
        self._place = (settings, topic, new_partitions)

    async def start(self) -> None:
        settings, topic, partitions = self._place
        async with kafka_admin(settings) as admin:
            await admin.create(
                topic, partitions=partitions, replication=1, settings={"max.message.bytes": "12582912", "retention.ms": "-1"}
            )
            while await admin.partitions_of(topic) is None:
                pass
        await super().start()


@pytest.fixture
def open_log(settings: KafkaSettings) -> OpenLog:
    return lambda partitions: MadeLog(settings, topic=f"{settings.namespace}.log", new_partitions=partitions)


class TestKafkaLog(LogConformance):
    pass
