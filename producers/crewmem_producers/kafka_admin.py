"""Asking and changing topics on Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.kafka import TIMEOUT_SECONDS, answering, client_options
from crewmem_producers.kafka_refusal import REFUSALS, refusal_of, said_of
from crewmem_producers.settings import KafkaSettings

SETTINGS_LOOKS, SETTINGS_LOOK_SECONDS = 50, 0.1


class KafkaAdmin:
    """What crewmem asks of a cluster; made by `kafka_admin`."""

    def __init__(self, client: AIOKafkaAdminClient) -> None:
        self._client = client

    async def partitions_of(self, topic: str) -> int | None:
        """How many partitions the topic has; None when it is not there (and is not made by asking)."""
        # All topics are asked for: naming one lets a broker with auto.create.topics.enable make it.
        for one in await self._client.describe_topics():
            if one["topic"] == topic:
                _raise_for(one["error_code"], topic)
                return len(one["partitions"])
        return None

    async def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> None:
        """Makes the topic; nothing happens when another process made it first. Raises LogRefused when it cannot be."""
        # With the brokers' default (-1) aiokafka wants a replica assignment that is not None; an empty one is none.
        assignments: dict[int, list[int]] | None = {} if replication == -1 else None
        new = NewTopic(topic, partitions, replication, assignments, dict(settings))
        for _, code, message in (await self._client.create_topics([new])).topic_errors:
            kind = for_code(code)
            if code and kind is not TopicAlreadyExistsError:
                if kind.retriable:
                    raise kind(message)
                raise LogRefused(f"Kafka does not make {topic} ({kind.__name__}): {message}") from kind(message)

    async def settings_of(self, topic: str) -> dict[str, str]:
        """Every setting of a topic that is there, with what the brokers' defaults make of it."""
        for _ in range(SETTINGS_LOOKS - 1):
            try:
                return await self._settings_of(topic)
            except UnknownTopicOrPartitionError:  # the broker that is asked has not heard of a new topic yet
                await asyncio.sleep(SETTINGS_LOOK_SECONDS)
        return await self._settings_of(topic)

    async def settings_if_allowed(self, topic: str) -> dict[str, str] | None:
        """The same; None where this user has no right to see them."""
        try:
            return await self.settings_of(topic)
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            return None

    async def _settings_of(self, topic: str) -> dict[str, str]:
        (answer,) = await self._client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        ((code, message, _, _, entries, *_),) = answer.resources
        _raise_for(code, message)
        return {name: value for name, value, *_ in entries}


@asynccontextmanager
async def kafka_admin(settings: KafkaSettings, *, seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[KafkaAdmin]:
    """A connected KafkaAdmin. Raises LogUnavailable; LogRefused when the brokers do not let this user in; SettingsError."""
    options = client_options(settings)
    async with answering("answer", seconds=seconds):
        client = AIOKafkaAdminClient(**options, request_timeout_ms=int(seconds * 1000))
        try:
            await client.start()
            yield KafkaAdmin(client)
        except KafkaConnectionError as error:
            if (refusal := await refusal_of(options, seconds=seconds)) is not None:
                raise LogRefused(said_of(refusal)) from refusal
            raise LogUnavailable(
                f"no broker answers at {settings.kafka_bootstrap} ({settings.kafka_security_protocol}): start it, or check"
                " CREWMEM_KAFKA_BOOTSTRAP and CREWMEM_KAFKA_SECURITY_PROTOCOL"
            ) from error
        except REFUSALS as error:
            raise LogRefused(said_of(error)) from error
        finally:
            await client.close()


def _raise_for(code: int, *message: object) -> None:
    if code:
        raise for_code(code)(*message)
