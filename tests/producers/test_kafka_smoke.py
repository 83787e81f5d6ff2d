"""The shortest way through everything that touches Apache Kafka: for a new broker version, or another way to get a broker."""

import pytest
from crewmem_producers.connect import open_dead_letter_log, open_log, open_registry
from crewmem_producers.log import Record
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics

pytestmark = pytest.mark.kafka


async def test_topics_are_made_and_the_log_and_the_registry_keep_what_they_are_given(kafka: str, namespace: str) -> None:
    settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=3)
    assert await ensure_topics(settings) == []
    log, letters, registry = open_log(settings), open_dead_letter_log(settings), open_registry(settings)
    for part in (log, letters, registry):
        await part.start()
    (position,) = await log.append([Record(b"acme/1", b"body", (("ce_id", b"1"),))])
    assert [one.value for one in await log.read(position.partition, position.offset)] == [b"body"]
    await letters.append([Record(b"acme/1", b"letter", partition=2)])
    assert await letters.end() == {0: 0, 1: 0, 2: 1}
    await registry.put("active", {"generation": "g1"})
    assert registry.get("active") == {"generation": "g1"}
    for part in (log, letters, registry):
        await part.close()
