"""Appending to Kafka: an idempotent producer that is made anew after an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaConnectionError, TopicAuthorizationFailedError

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.kafka import answering
from crewmem_producers.kafka_refusal import login
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.log import Position, Record

MAX_BATCH_BYTES = 1024 * 1024
"""Records of a partition travel together up to this size; a larger one travels alone."""

_FORBIDDEN = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
"""A user who may write to no topic at all gets the second, when the producer asks for its id."""

MAX_FLIGHT_BYTES = 32 * 1024 * 1024
"""An append sends this much at a time: a broker closes the connection on a request over its limit (100 MB)."""


class KafkaAppender:
    """Appends to one topic and waits for the acknowledgement of all in-sync replicas.

    After an error the producer is given up and the next append makes a new one, with the `options` of that moment: an
    idempotent producer that missed an acknowledgement can be unable to go on, and tries for ever without a broker.

    With `wait` an outage is waited out before anything is sent; what was sent is repeated by the same idempotent producer
    only, for as long as `wait` says, so that no record is written twice.
    """

    def __init__(
        self, *, topic: str, options: Callable[[], dict[str, Any]], seconds: float, wait: BrokerWait = NO_WAIT
    ) -> None:
        self._topic = topic
        self._options = options
        self._seconds = seconds
        self._wait = wait
        self._producer: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()
        self._given_up: set[asyncio.Task[None]] = set()

    async def append(self, records: Sequence[Record]) -> list[Position]:
        """The positions of the records, each of which names its partition.

        Raises LogUnavailable, EventTooLarge where the topic takes less than the log's own limit, LogRefused where this user
        may not write.
        """
        return [position for flight in _flights(records) for position in await self._send(flight)]

    async def close(self) -> None:
        """Ends the producer; safe to call twice."""
        if (producer := self._producer) is not None:
            self._give_up(producer)
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=self._seconds)

    async def _send(self, records: Sequence[Record]) -> list[Position]:
        try:
            done = await self._sent(records)
        except _FORBIDDEN as error:
            raise LogRefused(
                f"Kafka does not let this user write to {self._topic} ({error!r}): give it the right (docs/kafka.md)"
            ) from error
        if any(one.offset < 0 for one in done):
            # What the broker says to a repeat whose first answer it no longer remembers.
            raise LogUnavailable("Kafka acknowledged without a position: append again")
        return [Position(one.partition, one.offset) for one in done]

    async def _sent(self, records: Sequence[Record]) -> list[Any]:
        futures: list[asyncio.Future[Any]] = []
        producer = await self._wait.until_answered(self._connected)
        seconds = max(self._seconds, self._wait.seconds)
        waiting = self._wait.saying(f"Kafka has not acknowledged what was written to {self._topic}")
        async with answering("acknowledge", seconds=seconds, but=_FORBIDDEN), waiting:
            try:
                for record in records:
                    futures.append(await producer.send(self._topic, **_arguments(record)))
                return await asyncio.gather(*futures)
            except BaseException:
                self._give_up(producer)
                for future in futures:
                    future.cancel()
                raise

    async def _connected(self) -> AIOKafkaProducer:
        async with answering("let this producer connect", seconds=self._seconds, but=_FORBIDDEN):
            return await self._ready()

    async def _ready(self) -> AIOKafkaProducer:
        async with self._making:
            if self._producer is None:
                options = self._options()
                producer = AIOKafkaProducer(
                    **options,
                    acks="all",
                    enable_idempotence=True,
                    max_request_size=RECORD_BYTES,
                    max_batch_size=MAX_BATCH_BYTES,
                    request_timeout_ms=int(self._seconds * 1000),
                )
                try:
                    async with login(options, seconds=self._seconds):
                        await producer.start()
                except BaseException:
                    self._give_up(producer)
                    raise
                self._producer = producer
            return self._producer

    def _give_up(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
        task = asyncio.create_task(_end(producer), name="kafka-producer-end")
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)


async def _end(producer: AIOKafkaProducer) -> None:
    """Ends a producer that may hold batches which no broker takes: its own `stop` would wait for them for ever."""
    producer._message_accumulator.fail_all(KafkaConnectionError("the producer was given up"))
    if (sender := producer._sender.sender_task) is not None:
        sender.cancel()
    await producer.stop()


def _arguments(record: Record) -> dict[str, Any]:
    return {
        # aiokafka refuses a record with neither key nor value, which a dead letter can be.
        "key": b"" if record.key is None and record.value is None else record.key,
        "value": record.value,
        "partition": record.partition,
        "headers": [(_header_name(name), value) for name, value in record.headers],
    }


def _header_name(name: str) -> str:
    """A name that was no UTF-8 when it was read cannot be written again as it was: its odd bytes are spelt out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _flights(records: Sequence[Record]) -> Iterator[list[Record]]:
    flight: list[Record] = []
    size = 0
    for record in records:
        if flight and size + record.size > MAX_FLIGHT_BYTES:
            yield flight
            flight, size = [], 0
        flight.append(record)
        size += record.size
    if flight:
        yield flight
