"""Who consumes on Kafka now: the members of a generation's group."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from crewmem_producers.kafka import TIMEOUT_SECONDS, answering, client_options
from crewmem_producers.settings import KafkaSettings


async def members(settings: KafkaSettings, generation: str) -> int:
    """How many consumers the generation's group has. One that was killed counts until its session has timed out.

    Raises LogUnavailable, SettingsError.
    """
    options = client_options(settings)
    async with answering("say who consumes", seconds=TIMEOUT_SECONDS):
        admin = AIOKafkaAdminClient(**options)
        try:
            await admin.start()
            described = await admin.describe_consumer_groups([f"{settings.namespace}.{generation}"])
        finally:
            await admin.close()
    return sum(len(group["members"]) for answer in described for group in answer.to_object()["groups"])
