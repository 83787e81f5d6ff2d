"""Who consumes on Kafka now: the members of a generation's group."""

from __future__ import annotations

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from crewmem_producers.kafka import TIMEOUT_SECONDS, answering, client_options
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import events_topic


async def owned(settings: KafkaSettings, generation: str) -> set[int]:
    """The partitions that a member of the generation's group owns; one that was killed owns them until its session has timed
    out. Empty while the group shares them out.

    Raises LogUnavailable, SettingsError.
    """
    topic = events_topic(settings.namespace)
    return {
        partition
        for group in await _described(settings, generation)
        for member in group["members"]
        if member["member_assignment"]
        for name, partitions in ConsumerProtocolMemberAssignment.decode(member["member_assignment"]).assignment
        if name == topic
        for partition in partitions
    }


async def members(settings: KafkaSettings, generation: str) -> int:
    """How many consumers the generation's group has. One that was killed counts until its session has timed out.

    Raises LogUnavailable, SettingsError.
    """
    return sum(len(group["members"]) for group in await _described(settings, generation))


async def _described(settings: KafkaSettings, generation: str) -> list[dict[str, Any]]:
    options = client_options(settings)
    async with answering("say who consumes", seconds=TIMEOUT_SECONDS):
        admin = AIOKafkaAdminClient(**options)
        try:
            await admin.start()
            described = await admin.describe_consumer_groups([f"{settings.namespace}.{generation}"])
        finally:
            await admin.close()
    return [group for answer in described for group in answer.to_object()["groups"]]
