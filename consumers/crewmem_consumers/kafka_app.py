"""A generation on Apache Kafka: one FastStream batch subscriber whose handler only hands records to the partitions' workers.

The group's commit is for lag monitors only. Where reading begins is the store's word alone: a partition is paused when it is
assigned, and its worker seeks once the store has answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from crewmem_producers.kafka import answering, bootstrap_servers, security
from crewmem_producers.kafka_headers import accept_any_header_name
from crewmem_producers.log import LoggedRecord
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.topics import events_topic
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import KafkaAckableMessage

from crewmem_consumers.owned import OwnedPartitions

log = logging.getLogger("crewmem.consumer")

REBALANCE_TIMEOUT_MS = 60_000
"""How long the group waits for a member that drains: unset it would be the session time-out, and a long write evicts."""
STATIC_SESSION_MS = 30_000
"""A static member that restarts within this keeps its partitions; one that does not loses them after it."""
DYNAMIC_SESSION_MS = 10_000
POLL_MS = 100
MAX_RECORDS = 1000
COMMIT_SECONDS = 5.0
JOIN_SECONDS = 120.0
"""A rebalance waits for members that drain, so joining may take as long as they may."""


def open_broker(settings: ConsumerSettings) -> KafkaBroker:
    """FastStream's broker: it reads only. Start it before the subscribers."""
    accept_any_header_name()
    return KafkaBroker(
        bootstrap_servers(settings),
        client_id=f"{settings.namespace}-consumer",
        security=security(settings),
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        logger=log,
        log_level=logging.DEBUG,
    )


class KafkaApp:
    """The subscriber of one generation. Start it, stop it; rebalances do the rest."""

    def __init__(self, owned: OwnedPartitions, *, broker: KafkaBroker, settings: ConsumerSettings) -> None:
        self._owned = owned
        self._topic = events_topic(settings.namespace)
        self._gaps: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._committing: asyncio.Task[None] | None = None
        static = settings.group_instance_id is not None
        self._subscriber = broker.subscriber(
            self._topic,
            batch=True,
            group_id=f"{settings.namespace}.{owned.generation.name}",
            group_instance_id=settings.group_instance_id,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="none",  # nothing may move a position but the store
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            session_timeout_ms=STATIC_SESSION_MS if static else DYNAMIC_SESSION_MS,
            batch_timeout_ms=POLL_MS,
            max_records=MAX_RECORDS,
            listener=_Listener(self),
            parser=_parse,
            decoder=_decode,
            no_reply=True,
            persistent=False,
        )
        self._subscriber(self._handle)

    async def start(self) -> None:
        """Joins the group; partitions come with the rebalances. Raises LogUnavailable."""
        try:
            async with answering("let this consumer join its group", seconds=JOIN_SECONDS):
                await self._subscriber.start()
        except BaseException:
            await self._owned.release()
            await self._subscriber.stop()
            raise
        self._committing = asyncio.create_task(self._commit_now_and_then())

    async def stop(self) -> None:
        """Ends every worker at its next border, then leaves the group."""
        await self._owned.release()
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.wait([self._committing])
        await self._subscriber.stop()

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    async def assigned(self, partitions: set[TopicPartition]) -> None:
        """Returns at once, since no heartbeat is sent before it does: the workers open the store on their own."""
        consumer = self._consumer
        if consumer is None:
            return
        for place in partitions:
            # Paused, and somewhere, so that nothing is fetched and no reset is looked for until the store has answered.
            consumer.pause(place)
            consumer.seek(place, 0)
        await self._owned.release()  # a member that was evicted never heard of the revocation
        self._gaps.clear()
        for place in partitions:
            self._owned.adopt(
                place.partition,
                on_ready=lambda position, place=place: self._go_on(place, position),  # type: ignore[misc]
                on_room=lambda place=place: self._go_on(place),  # type: ignore[misc]
            )

    async def revoked(self, partitions: set[TopicPartition]) -> None:
        """Waits for writes in flight, and for nothing else; what was only read is read again by the next owner."""
        await self._owned.release([place.partition for place in partitions])

    async def _handle(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        for partition, run in _runs(records):
            worker = self._owned.get(partition)
            if worker is None or worker.expected is None:
                continue
            if run[0].offset > worker.expected and self._gaps.get(partition) != worker.expected:
                # Offsets are missing. Read once more from where we are: what is missing again holds no record
                # (a transaction's marker), and nothing was skipped.
                self._gaps[partition] = worker.expected
                self._go_on(TopicPartition(self._topic, partition), worker.expected)
                continue
            worker.offer(run)
            if worker.full:
                self._hold(TopicPartition(self._topic, partition))

    def _go_on(self, place: TopicPartition, position: int | None = None) -> None:
        try:
            if position is not None and self._consumer is not None:
                self._consumer.seek(place, position)
            if self._consumer is not None:
                self._consumer.resume(place)
        except IllegalStateError:
            log.debug("%s moved to another consumer meanwhile", place)

    def _hold(self, place: TopicPartition) -> None:
        try:
            if self._consumer is not None:
                self._consumer.pause(place)
        except IllegalStateError:
            log.debug("%s moved to another consumer meanwhile", place)

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            moved = {p: offset for p, offset in self._owned.positions().items() if self._committed.get(p) != offset}
            if not moved or self._consumer is None:
                continue
            try:
                await self._consumer.commit({TopicPartition(self._topic, p): offset for p, offset in moved.items()})
                self._committed |= moved
            except (KafkaError, IllegalStateError) as error:
                log.debug("the group's commit, which only lag monitors look at, failed: %s", error)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, app: KafkaApp) -> None:
        self._app = app

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._app.revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._app.assigned(assigned)


def _runs(records: Sequence[ConsumerRecord[bytes, bytes]]) -> Iterator[tuple[int, list[LoggedRecord]]]:
    """The records of one poll, by partition."""
    for partition, run in groupby(records, key=lambda record: int(record.partition)):
        yield partition, [logged(record) for record in run]


def logged(record: ConsumerRecord[bytes, bytes]) -> LoggedRecord:
    """What Kafka gave, as every log gives it."""
    headers = tuple((name, value or b"") for name, value in record.headers)
    return LoggedRecord(record.partition, record.offset, record.key, record.value, headers, record.timestamp)


async def _parse(records: tuple[ConsumerRecord[bytes, bytes], ...]) -> KafkaMessage:
    """Takes everything: FastStream's own parser gives up a whole batch for one header that is not UTF-8."""
    first = records[0]
    return KafkaAckableMessage(
        body=b"", raw_message=records, message_id=f"{first.partition}-{first.offset}", consumer=_NoCommits()
    )


async def _decode(message: KafkaMessage) -> Any:
    return message.raw_message


class _NoCommits:
    """In place of the consumer in a message: no message of a batch is acknowledged."""

    async def commit(self) -> None:
        raise AssertionError("the store's ledger is the position; commits are for lag monitors")

    def seek(self, partition: TopicPartition, offset: int) -> None:
        raise AssertionError("only the store's position is sought")
