"""Settings of Kafka's topics, changed as an operator does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from crewmem_producers.kafka_admin import kafka_admin
from crewmem_producers.settings import KafkaSettings


async def alter(bootstrap: str, topic: str, changes: Mapping[str, str]) -> None:
    """Puts these settings in place of all that the topic has; what is left out is the brokers' default again."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(changes))])
    finally:
        await admin.close()
    async with kafka_admin(KafkaSettings(kafka_bootstrap=bootstrap)) as asked, asyncio.timeout(30):
        while not changes.items() <= (await asked.settings_of(topic)).items():
            await asyncio.sleep(0.05)
