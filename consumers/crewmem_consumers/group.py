"""Who consumes on Kafka now: the members of a generation's group."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.kafka import client_options
from crewmem_producers.settings import KafkaSettings


async def members(settings: KafkaSettings, generation: str) -> int:
    """How many consumers the generation's group has. One that was killed counts until its session has timed out.

    Raises LogUnavailable.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        described = await admin.describe_consumer_groups([f"{settings.namespace}.{generation}"])
    except KafkaError as error:
        raise LogUnavailable(f"Kafka does not say who consumes: {error}") from error
    finally:
        await admin.close()
    return sum(len(group["members"]) for answer in described for group in answer.to_object()["groups"])
