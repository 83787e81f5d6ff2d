
import pytest
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics
from producers.conformance_registry import OpenRegistry, RegistryConformance

pytestmark = pytest.mark.kafka


@pytest.fixture
async def settings(kafka: str, namespace: str) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, source="test", kafka_partitions=1)
    await ensure_topics(settings)
    return settings


class TestKafkaRegistry(RegistryConformance):
    @pytest.fixture
    async def open_registry(self, settings: KafkaSettings) -> OpenRegistry:
        other = settings.model_copy(update={"namespace": f"{settings.namespace}.other"})
        await ensure_topics(other)
        return lambda name="mine": KafkaRegistry(other if name == "other" else settings)
