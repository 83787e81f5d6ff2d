"""A generation on Apache Kafka: one FastStream batch subscriber whose handler only hands records to the partitions' workers.

The group's commit is for lag monitors only. Where reading begins is the store's word alone: a partition is paused when it is
assigned, and its worker seeks once the store has answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.kafka import answering, bootstrap_servers, security
from crewmem_producers.kafka_headers import accept_any_header_name
from crewmem_producers.kafka_reader import logged
from crewmem_producers.log import LoggedRecord
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.topics import events_topic
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import KafkaAckableMessage

from crewmem_consumers.outage import Outage
from crewmem_consumers.owned import OwnedPartitions

log = logging.getLogger("crewmem.consumer")

REBALANCE_TIMEOUT_MS = 60_000
"""How long the group waits for a member that drains: unset it would be the session time-out, and a long write evicts."""
STATIC_SESSION_MS = 30_000
"""A static member that restarts within this keeps its partitions; one that does not loses them after it."""
DYNAMIC_SESSION_MS = 10_000
METADATA_MS = 10_000
"""How soon a topic that was deleted and made anew is noticed. Meanwhile a member of the group may own nothing, in silence."""
POLL_MS = 100
MAX_RECORDS = 1000
LOOK_SECONDS = 3.0
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
        metadata_max_age_ms=METADATA_MS,
        apply_types=False,
        logger=_logger(),
        log_level=logging.DEBUG,
    )


class KafkaApp:
    """The subscriber of one generation. Start it, stop it; rebalances do the rest."""

    def __init__(self, owned: OwnedPartitions, *, broker: KafkaBroker, settings: ConsumerSettings) -> None:
        self._owned = owned
        self._topic = events_topic(settings.namespace)
        self._committed: dict[int, int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False
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
        self._looking = asyncio.create_task(self._look_now_and_then())

    async def stop(self) -> None:
        """Ends every worker at its next border, then leaves the group."""
        self._stopped = True
        await self._owned.release()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
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
        if self._stopped:
            return
        for place in partitions:
            self._owned.adopt(
                place.partition,
                on_ready=partial(self._go_on, place),
                on_room=partial(self._go_on, place),
            )

    async def revoked(self, partitions: set[TopicPartition]) -> None:
        """Waits for writes in flight, and for nothing else; what was only read is read again by the next owner."""
        await self._owned.release([place.partition for place in partitions])

    async def _handle(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        for partition, run in _runs(records):
            worker = self._owned.get(partition)
            if worker is None or worker.expected is None:
                continue
            place = TopicPartition(self._topic, partition)
            if run[0].offset > worker.expected and await self._was_lost(partition, worker.expected, before=run[0].offset):
                self._go_on(place, worker.expected)
                continue
            worker.offer(run)
            if worker.full:
                self._hold(place)

    async def _was_lost(self, partition: int, expected: int, *, before: int) -> bool:
        """Whether the log holds a record from `expected` on and before that offset: offsets without one are no loss.

        FastStream gives up what it has read of every partition when anything raises in front of the handler.
        """
        try:
            found = await self._owned.log.read(partition, expected, limit=1)
        except LogUnavailable:
            return True  # not known: reading it once more does no harm
        return bool(found) and found[0].offset < before

    async def _read_again_what_was_lost(self) -> None:
        """For a partition to which nothing has come since, and so nobody has noticed."""
        consumer = self._consumer
        for partition in self._owned.positions():
            worker, place = self._owned.get(partition), TopicPartition(self._topic, partition)
            if worker is None or worker.expected is None or consumer is None or place not in consumer.assignment():
                continue
            reached, expected = await consumer.position(place), worker.expected
            if reached > expected and await self._was_lost(partition, expected, before=reached):
                log.warning("%s was read up to %d and handed over up to %d: reading it again", place, reached, expected)
                self._go_on(place, worker.expected)

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

    async def _look_now_and_then(self) -> None:
        """A group that does not take commits for long may lack a right: that is said once."""
        outage = Outage(f"what lag monitors are told of {self._owned.generation.name}", logger=log)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._read_again_what_was_lost()
                await self._commit()
            except IllegalStateError as error:
                log.debug("partitions moved during a look at the group, the next one follows: %s", error)
            except KafkaError as error:
                outage.say(LogUnavailable(f"{type(error).__name__}: {error}"))
            except Exception as error:  # a fault of ours must not end the looks
                outage.say(error)
            else:
                outage.say(None)

    async def _commit(self) -> None:
        """For lag monitors: nothing of crewmem reads it."""
        moved = {p: offset for p, offset in self._owned.positions().items() if self._committed.get(p) != offset}
        if moved and self._consumer is not None:
            await self._consumer.commit({TopicPartition(self._topic, p): offset for p, offset in moved.items()})
            self._committed |= moved


def _logger() -> logging.Logger:
    """FastStream's log lines that tell something: opening the log has looked whether the topics exist."""
    logger = logging.getLogger("crewmem.consumer.faststream")
    logger.addFilter(_tells_something)
    return logger


def _tells_something(record: logging.LogRecord) -> bool:
    return not any(words in record.getMessage() for words in ("Auto create topics is disabled", "callback for Task"))


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
