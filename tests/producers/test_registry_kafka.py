import asyncio
import logging

import pytest
from crewmem_producers.log import Record
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, registry_topic
from producers.conformance_log import read_all
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


async def test_a_record_that_is_no_json_object_changes_nothing_and_is_told(
    settings: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    log = KafkaLog(settings, topic=registry_topic(settings.namespace))
    await log.start()
    odd = [
        (b"active", b"not JSON"),
        (b"active", b"[1]"),
        (b"active", None),
        (b"\xff", b"{}"),
        (b"active", b"\xff"),
        (b"active", b"[" * 100_000),
    ]
    await log.append([Record(b"active", b'{"generation": "g1"}', partition=0)])
    await log.append([Record(key, value, partition=0) for key, value in odd])
    registry = KafkaRegistry(settings)
    with caplog.at_level(logging.WARNING, "crewmem_producers"):
        await registry.start()
    assert registry.items("") == {"active": {"generation": "g1"}}
    assert [one.getMessage() for one in caplog.records if "no JSON object" in one.getMessage()] == [
        f"the registry's record at offset {offset} is no JSON object and changes nothing" for offset in range(1, 7)
    ]
    await registry.put("active", {"generation": "g2"})
    assert registry.get("active") == {"generation": "g2"}
    await registry.close()
    await log.close()


async def test_a_registry_that_was_compacted_is_read_whole(settings: KafkaSettings) -> None:
    writer = KafkaRegistry(settings)
    await writer.start()
    for n in range(40):
        await writer.put(f"producer/{n % 4}", {"n": n})
    log = KafkaLog(settings, topic=registry_topic(settings.namespace))
    await log.start()
    async with asyncio.timeout(120):
        while len(await _offsets(log)) >= 40:
            await writer.put("roll", {})  # a segment is compacted once a later record has closed it
            await asyncio.sleep(1)
    reader = KafkaRegistry(settings)
    await reader.start()
    assert reader.items("producer/") == {f"producer/{n}": {"n": 36 + n} for n in range(4)}
    await reader.close()
    await log.close()
    await writer.close()


async def _offsets(log: KafkaLog) -> set[int]:
    return {one.offset for one in await read_all(log, 0) if one.key != b"roll"}
