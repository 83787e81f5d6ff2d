import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource
from crewmem_producers.errors import LogRefused, SettingsError
from crewmem_producers.kafka_admin import KafkaAdmin, kafka_admin
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import KEPT_FOR_EVER, check_topics, dead_letter_topic, ensure_topics, events_topic, registry_topic
from support.topics import alter


def test_topics_are_named_by_the_namespace() -> None:
    names = [name("acme-prod") for name in (events_topic, dead_letter_topic, registry_topic)]
    assert names == ["acme-prod.events.v1", "acme-prod.events.v1.dlq", "acme-prod.registry.v1"]


async def test_without_a_broker_there_are_no_topics_to_make() -> None:
    with pytest.raises(SettingsError, match="CREWMEM_KAFKA_BOOTSTRAP"):
        await ensure_topics(KafkaSettings())


class OfSeveralBrokers:
    """Of three brokers two have not heard of a topic that was just made; each question goes to another one."""

    def __init__(self) -> None:
        self.asked = 0

    async def describe_configs(self, resources: list[ConfigResource]) -> list[Any]:
        self.asked += 1
        told = (0, None) if self.asked == 3 else (3, "This server does not host this topic-partition.")
        return [SimpleNamespace(resources=[(*told, 2, resources[0].name, [("retention.ms", "-1", False, False, False)])])]


async def test_a_broker_that_has_not_heard_of_a_new_topic_is_asked_again() -> None:
    client = OfSeveralBrokers()
    assert await KafkaAdmin(client).settings_of("events") == {"retention.ms": "-1"}  # type: ignore[arg-type]
    assert client.asked == 3


@pytest.fixture
def settings(kafka: str, namespace: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=5)


@pytest.mark.kafka
async def test_new_topics_keep_every_event_and_forget_erased_keys_soon(settings: KafkaSettings) -> None:
    assert await ensure_topics(settings) == []
    async with kafka_admin(settings) as admin:
        for topic, partitions in ((events_topic, 5), (dead_letter_topic, 5), (registry_topic, 1)):
            assert await admin.partitions_of(topic(settings.namespace)) == partitions
        events = await admin.settings_of(events_topic(settings.namespace))
        registry = await admin.settings_of(registry_topic(settings.namespace))
    assert (events["cleanup.policy"], events["retention.ms"], events["retention.bytes"]) == ("delete", "-1", "-1")
    assert events["max.message.bytes"] == registry["max.message.bytes"] == "12582912"
    assert registry["cleanup.policy"] == "compact"
    assert (registry["segment.ms"], registry["max.compaction.lag.ms"]) == ("1000", "1000")
    assert (registry["delete.retention.ms"], registry["file.delete.delay.ms"]) == ("100", "1000")


@pytest.mark.kafka
async def test_making_them_again_or_at_once_from_many_processes_changes_nothing(settings: KafkaSettings) -> None:
    assert await asyncio.gather(*(ensure_topics(settings) for _ in range(4))) == [[], [], [], []]
    assert await ensure_topics(settings) == await check_topics(settings) == []


@pytest.mark.kafka
async def test_checking_makes_nothing(settings: KafkaSettings) -> None:
    for _ in range(2):
        with pytest.raises(LogRefused, match=r"has no topic .*crewmem topics create"):
            await check_topics(settings)


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("topic", "wrong", "said"),
    [
        (events_topic, {"retention.ms": "604800000"}, "retention.ms=604800000 and needs -1"),
        (events_topic, {"retention.bytes": "1000000"}, "retention.bytes=1000000 and needs -1"),
        (events_topic, {"cleanup.policy": "compact"}, "cleanup.policy=compact and needs delete"),
        (events_topic, {"cleanup.policy": "compact,delete"}, "needs delete"),
        (dead_letter_topic, {"retention.ms": "1000"}, "needs -1"),
        (registry_topic, {"cleanup.policy": "delete"}, "cleanup.policy=delete and needs compact"),
    ],
)
async def test_a_setting_that_would_lose_memory_is_refused_with_the_command_that_mends_it(
    settings: KafkaSettings, topic: object, wrong: dict[str, str], said: str
) -> None:
    await ensure_topics(settings)
    name = topic(settings.namespace)  # type: ignore[operator]
    await _alter(settings, name, wrong)
    with pytest.raises(LogRefused, match=said) as caught:
        await ensure_topics(settings)
    command = (
        f"kafka-configs.sh --bootstrap-server {settings.kafka_bootstrap} --alter --entity-type topics --entity-name {name}"
    )
    assert f"{command} --add-config" in str(caught.value)


@pytest.mark.kafka
async def test_settings_that_crewmem_would_like_are_warnings(settings: KafkaSettings) -> None:
    await ensure_topics(settings)
    await _alter(settings, registry_topic(settings.namespace), {"cleanup.policy": "compact", "max.message.bytes": "12582912"})
    await _alter(settings, events_topic(settings.namespace), {"retention.ms": "-1", "max.message.bytes": "1000000"})
    warnings = await ensure_topics(settings)
    assert len(warnings) == 5
    assert "segment.ms=604800000; crewmem makes it 1000: an erased data key's bytes stay" in warnings[0]
    assert "max.message.bytes=1000000; crewmem makes it 12582912: events that are larger" in warnings[-1]


@pytest.mark.kafka
async def test_better_than_wished_is_no_warning(settings: KafkaSettings) -> None:
    await ensure_topics(settings)
    better = {
        "cleanup.policy": "compact",
        "max.message.bytes": "20000000",
        "segment.ms": "500",
        "max.compaction.lag.ms": "1000",
    }
    await _alter(
        settings, registry_topic(settings.namespace), better | {"delete.retention.ms": "0", "file.delete.delay.ms": "0"}
    )
    assert await ensure_topics(settings) == []


@pytest.mark.kafka
async def test_another_number_of_partitions_is_refused(settings: KafkaSettings) -> None:
    await ensure_topics(settings)
    with pytest.raises(LogRefused, match="has 5 partitions and CREWMEM_KAFKA_PARTITIONS is 12: set it to 5"):
        await ensure_topics(settings.model_copy(update={"kafka_partitions": 12}))
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    await admin.create_partitions({registry_topic(settings.namespace): NewPartitions(2)})
    await admin.close()
    with pytest.raises(LogRefused, match="has 2 partitions and must have 1"):
        await ensure_topics(settings)


@pytest.mark.kafka
async def test_more_replicas_than_there_are_brokers_is_said(settings: KafkaSettings) -> None:
    with pytest.raises(LogRefused, match=r"InvalidReplicationFactorError.* 99"):
        await ensure_topics(settings.model_copy(update={"kafka_replication": 99}))


async def _alter(settings: KafkaSettings, topic: str, values: Mapping[str, str]) -> None:
    """Sets exactly these settings of the topic; the others become the broker's defaults."""
    if topic == events_topic(settings.namespace) or topic == dead_letter_topic(settings.namespace):
        values = {**KEPT_FOR_EVER, **values}
    assert settings.kafka_bootstrap is not None
    await alter(settings.kafka_bootstrap, topic, values)
