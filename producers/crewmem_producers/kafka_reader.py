"""Reading from Kafka at any offset: a consumer without a group that is made anew after an error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from crewmem_producers.compat import timeout
from crewmem_producers.kafka import answering
from crewmem_producers.kafka_headers import accept_any_header_name
from crewmem_producers.kafka_refusal import login
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.log import LoggedRecord

MAX_READ_BYTES = 32 * 1024 * 1024
_STOP_SECONDS = 3.0


class KafkaReader:
    """Reads one topic, one call at a time. After an error the next call makes a new consumer, with the `options` of that
    moment.

    Reading on where the last call ended uses what was fetched ahead; a call that reached the end of its partition leaves
    nothing running, so that an idle reader costs the brokers nothing.
    """

    def __init__(self, *, topic: str, partitions: int, options: Callable[[], dict[str, Any]], seconds: float) -> None:
        self._places = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._options = options
        self._seconds = seconds
        self._consumer: AIOKafkaConsumer | None = None
        self._using = asyncio.Lock()
        self._next: int | None = None
        self._ends: dict[TopicPartition, int] = {}

    async def read(self, partition: int, offset: int, *, limit: int) -> list[LoggedRecord]:
        """Up to `limit` records from `offset` on, from the first one there if it is gone. Raises LogUnavailable."""
        if not 0 <= partition < len(self._places):
            return []
        place = self._places[partition]
        async with self._use("give records") as consumer:
            if offset >= self._ends.get(place, 0):
                self._ends |= await consumer.end_offsets([place])
            try:
                return await self._fetch(consumer, place, offset, limit)
            except OffsetOutOfRangeError:
                first = (await consumer.beginning_offsets([place]))[place]
                self._ends |= await consumer.end_offsets([place])
                return await self._fetch(consumer, place, max(offset, first), limit)

    async def first(self) -> dict[int, int]:
        """Offset of the first record of each partition. Raises LogUnavailable."""
        async with self._use("give its first offsets") as consumer:
            return {place.partition: offset for place, offset in (await consumer.beginning_offsets(self._places)).items()}

    async def end(self) -> dict[int, int]:
        """Offset that the next record of each partition gets. Raises LogUnavailable."""
        async with self._use("give its end offsets") as consumer:
            self._ends = await consumer.end_offsets(self._places)
            return {place.partition: offset for place, offset in self._ends.items()}

    async def close(self) -> None:
        """Ends the consumer; safe to call twice."""
        async with self._using:
            await self._give_up()

    async def _fetch(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, limit: int) -> list[LoggedRecord]:
        end = self._ends[place]
        if offset >= end:
            return []
        self._go_to(consumer, place, offset)
        while True:
            found = (await consumer.getmany(place, timeout_ms=1000, max_records=limit)).get(place, [])
            # Control records of transactions have offsets and are never given.
            reached = await consumer.position(place)
            if found or reached >= end:
                break
        if reached >= end:
            consumer.pause(place)
        self._next = reached
        return [logged(one) for one in found]

    def _go_to(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> None:
        if consumer.assignment() != {place}:
            consumer.assign([place])
            self._next = None
        if self._next != offset:
            consumer.seek(place, offset)
        self._next = None
        consumer.resume(place)

    @contextlib.asynccontextmanager
    async def _use(self, what: str) -> AsyncIterator[AIOKafkaConsumer]:
        async with self._using, answering(what, seconds=self._seconds):
            try:
                yield await self._ready()
            except BaseException:
                await asyncio.shield(self._give_up())
                raise

    async def _ready(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            accept_any_header_name()
            options = self._options()
            self._consumer = AIOKafkaConsumer(
                **options,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=RECORD_BYTES,
                fetch_max_bytes=MAX_READ_BYTES,
                fetch_max_wait_ms=100,  # it is asked only for what is there
                request_timeout_ms=int(self._seconds * 1000),
            )
            async with login(options, seconds=self._seconds):
                await self._consumer.start()
        return self._consumer

    async def _give_up(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._next, self._ends = None, {}
        if consumer is not None:
            # aiokafka can swallow the cancellation that ends its fetching, and then waits for ever; a second one helps.
            with contextlib.suppress(asyncio.TimeoutError):
                async with timeout(_STOP_SECONDS):
                    await consumer.stop()


def logged(record: ConsumerRecord[bytes, bytes]) -> LoggedRecord:
    """What Kafka gave, as every log gives it."""
    headers = tuple((name, value or b"") for name, value in record.headers)
    return LoggedRecord(record.partition, record.offset, record.key, record.value, headers, record.timestamp)
