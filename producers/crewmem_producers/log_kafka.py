"""The event log of a fleet: a topic of Apache Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.kafka import TIMEOUT_SECONDS, client_options, options_now
from crewmem_producers.kafka_admin import kafka_admin
from crewmem_producers.kafka_appender import KafkaAppender
from crewmem_producers.kafka_reader import KafkaReader
from crewmem_producers.log import LoggedRecord, Position, Record
from crewmem_producers.settings import KafkaSettings


class KafkaLog:
    """One topic. Every call is over within `timeout_seconds`; after an outage the next call connects again. With `wait` a call
    that a broker did not answer is tried again for as long as that says."""

    def __init__(
        self, settings: KafkaSettings, *, topic: str, timeout_seconds: float = TIMEOUT_SECONDS, wait: BrokerWait = NO_WAIT
    ) -> None:  # fmt: skip
        self._settings = settings
        self._topic = topic
        self._seconds = timeout_seconds
        self._wait = wait
        self._partitions = 0
        self._appender: KafkaAppender | None = None
        self._reader: KafkaReader | None = None

    @property
    def partitions(self) -> int:
        """How many partitions the topic has. Known after `start`."""
        return self._partitions

    async def start(self) -> None:
        """Looks for the topic. Raises LogUnavailable, LogRefused when it is not there or the user is refused, SettingsError."""
        client_options(self._settings)  # what cannot be used at all is said at once
        found = await self._wait.until_answered(self._found)
        if found is None:
            raise LogRefused(
                f"Kafka shows no topic {self._topic}: run `crewmem topics create`, or give this user the right to it"
            )
        self._partitions = found
        options = partial(options_now, self._settings)
        self._appender = KafkaAppender(topic=self._topic, options=options, seconds=self._seconds, wait=self._wait)
        self._reader = KafkaReader(topic=self._topic, partitions=found, options=options, seconds=self._seconds)

    async def _found(self) -> int | None:
        async with kafka_admin(self._settings, seconds=self._seconds) as admin:
            return await admin.partitions_of(self._topic)

    async def append(self, records: Sequence[Record]) -> list[Position]:
        """Appends in order and returns the positions once all in-sync replicas have the records.

        Raises LogUnavailable (some may be on the log), LogRefused when this user may not write, EventTooLarge, ValueError for
        a wrong partition.
        """
        if self._appender is None:
            raise LogUnavailable(f"{self._topic} is not open")
        return await self._appender.append([record.checked(self._partitions) for record in records])

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        """Up to `limit` records from `offset` on, fewer when they are large; empty at the end. Raises LogUnavailable."""
        return await self._wait.until_answered(self._reading.read, partition, offset, limit=limit)

    async def first(self) -> dict[int, int]:
        """Offset of the first record of each partition. Raises LogUnavailable."""
        return await self._wait.until_answered(self._reading.first)

    async def end(self) -> dict[int, int]:
        """Offset that the next record of each partition will get. Raises LogUnavailable."""
        return await self._wait.until_answered(self._reading.end)

    async def close(self) -> None:
        """Frees the connections; safe to call twice."""
        appender, self._appender = self._appender, None
        reader, self._reader = self._reader, None
        if appender is not None:
            await appender.close()
        if reader is not None:
            await reader.close()

    @property
    def _reading(self) -> KafkaReader:
        if self._reader is None:
            raise LogUnavailable(f"{self._topic} is not open")
        return self._reader
