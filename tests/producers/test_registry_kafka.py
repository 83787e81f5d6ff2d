import asyncio
import json
import logging

import pytest
from crewmem_producers.errors import LogRefused
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, registry_topic
from producers.conformance_log import read_all
from producers.conformance_registry import OpenRegistry, RegistryConformance


class ReadOnlyLog:
    """A log that this user may not append to."""

    def __init__(self, *records: tuple[str, dict[str, str]]) -> None:
        self._records = records

    async def end(self) -> dict[int, int]:
        return {0: len(self._records)}

    async def read(self, partition: int, offset: int) -> list[LoggedRecord]:
        return [
            LoggedRecord(0, at, key.encode(), json.dumps(value).encode(), (), 0)
            for at, (key, value) in enumerate(self._records)
            if at >= offset
        ]

    async def append(self, records: object) -> None:
        raise LogRefused("this user may not write")


async def test_who_may_only_read_leaves_it_to_others_to_put_an_erasure_right() -> None:
    registry = KafkaRegistry(KafkaSettings(kafka_bootstrap="b:1"))
    registry._log = ReadOnlyLog(  # type: ignore[assignment]
        ("datakey/1", {"erased": "now"}), ("datakey/1", {"wrapped": "again"}), ("active", {"generation": "g1"})
    )
    await registry.refresh()
    assert registry.get("datakey/1") == {"erased": "now"} and registry.get("active") == {"generation": "g1"}


@pytest.fixture
async def settings(kafka: str, namespace: str) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, source="test", kafka_partitions=1)
    await ensure_topics(settings)
    return settings


@pytest.mark.kafka
class TestKafkaRegistry(RegistryConformance):
    @pytest.fixture
    async def open_registry(self, settings: KafkaSettings) -> OpenRegistry:
        other = settings.model_copy(update={"namespace": f"{settings.namespace}.other"})
        await ensure_topics(other)
        return lambda name="mine": KafkaRegistry(other if name == "other" else settings)


@pytest.mark.kafka
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


@pytest.mark.kafka
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
