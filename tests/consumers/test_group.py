"""Who consumes on Kafka: the members of a generation's group, and what they own."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer
from crewmem_consumers.group import members, owned
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, events_topic


@pytest.mark.kafka
async def test_partitions_are_owned_as_long_as_a_member_of_the_group_has_them(kafka: str, namespace: str) -> None:
    settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=3)
    await ensure_topics(settings)
    consumer = AIOKafkaConsumer(events_topic(namespace), bootstrap_servers=kafka, group_id=f"{namespace}.g1")
    await consumer.start()
    try:
        assert (await members(settings, "g1"), await owned(settings, "g1")) == (1, {0, 1, 2})
        assert await owned(settings, "g2") == set()
    finally:
        await consumer.stop()
    assert (await members(settings, "g1"), await owned(settings, "g1")) == (0, set())
