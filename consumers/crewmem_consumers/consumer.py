"""The whole consumer of one process: every live generation, on Kafka or on the SQLite log, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol, Unpack

from crewmem_producers import upkeep
from crewmem_producers.errors import CrewmemError, LogUnavailable
from crewmem_producers.openers import announce
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.topic_watch import TopicWatch
from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.errors import StoreRefused
from crewmem_store.generations import Generation
from crewmem_store.service.server import served

from crewmem_consumers.dead_letters import LogDeadLetters
from crewmem_consumers.dropped_tables import DroppedTables
from crewmem_consumers.health import Health, create_app
from crewmem_consumers.kept_sessions import SessionBudget
from crewmem_consumers.llm import LlmClient
from crewmem_consumers.monitor import Monitor
from crewmem_consumers.newer_schemas import NewerSchemas
from crewmem_consumers.opening import Collaborators, Given, only_consumer, opened
from crewmem_consumers.outage import Outage
from crewmem_consumers.owned import OwnedPartitions
from crewmem_consumers.partition_worker import Limits
from crewmem_consumers.patience import Patience, Stopped, is_set_within
from crewmem_consumers.right_of_way import RightOfWay
from crewmem_consumers.split import SPLITTER
from crewmem_consumers.sqlite_worker import SqliteWorker
from crewmem_consumers.steps import Checkpoint, no_checkpoint
from crewmem_consumers.store_check import StoreCheck
from crewmem_consumers.summaries import Summariser
from crewmem_consumers.writing_rights import WritingRights

if TYPE_CHECKING:
    from faststream.kafka import KafkaBroker

    from crewmem_consumers.credentials import Credentials

log = logging.getLogger("crewmem.consumer")

FOLLOW_SECONDS = 1.0
"""How soon a generation that is new in the registry gets its subscriber, and a dropped one loses it."""


class Source(Protocol):
    """Where one generation's records come from."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


async def run(
    settings: ConsumerSettings,
    *,
    stop: asyncio.Event,
    checkpoint: Checkpoint = no_checkpoint,
    health: Health | None = None,
    **given: Unpack[Given],
) -> None:
    """Consumes until `stop` is set, then ends every partition at its next border.

    With a `health` of the caller no port is opened; without one it is served on `consumer_host:consumer_port`. What is away
    is waited for. Raises StoreRefused (LogMismatch and its sisters), LogRefused, ConsumerRunning, EmbedderUnavailable.
    """
    async with contextlib.AsyncExitStack() as stack:
        if health is None:
            health = Health()
            pages = served(
                create_app(health), host=settings.consumer_host, port=settings.consumer_port,
                settings=("CREWMEM_CONSUMER_HOST", "CREWMEM_CONSUMER_PORT"),
            )  # fmt: skip
            await stack.enter_async_context(pages)
        stack.enter_context(only_consumer(settings))
        outage = Outage("the consumer's start", logger=logging.getLogger("crewmem.consumer"))
        patience = Patience(stop=stop, say=lambda error: _starting(health, outage, error))
        try:
            parts = await stack.enter_async_context(opened(settings, patience=patience, **given))
            embedder = given.get("embedder")
            await patience.until_done(_first_generation, parts, embedder.name if embedder else settings.embedder)
        except Stopped:
            return
        rights = WritingRights.of(settings)
        async with Consumer(settings, parts=parts, rights=rights, health=health, checkpoint=checkpoint) as consumer:
            await consumer.follow(stop)


class Consumer:
    """Follows the registry: a source for each live generation, or for the one of the name `only`, that nobody else has the
    right to write: on one machine a replay builds its generation by itself, and leaves it to who consumes here when it ends."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        parts: Collaborators,
        rights: WritingRights,
        health: Health,
        checkpoint: Checkpoint,
        only: str | None = None,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._rights = rights
        self._health = health
        self._checkpoint = checkpoint
        self._sources: dict[str, Source] = {}
        self._sessions = SessionBudget()
        self._right_of_way = RightOfWay()
        self._only = only
        self._dropped = DroppedTables(registry=parts.registry, store=parts.store)
        self._failed: asyncio.Queue[tuple[str, BaseException]] = asyncio.Queue()
        self._dead_letters = LogDeadLetters(parts.dead_letter_log, loop=asyncio.get_running_loop())
        self._llm = LlmClient.of(settings)
        self._broker: KafkaBroker | None = None
        self._credentials: Credentials | None = None
        self._joining = Outage("joining the group", logger=log)
        self._beside: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Consumer:
        if self._settings.kafka_bootstrap is not None:
            # Loaded only where there is a broker: one machine without Kafka needs nothing of it.
            from crewmem_consumers.credentials import Credentials
            from crewmem_consumers.kafka_app import open_broker

            self._credentials = Credentials(self._settings)
            self._broker = open_broker(self._settings)
            await self._broker.start()
            topics = TopicWatch(self._settings, logger=log)
            self._health.topics = lambda: topics.problems
            self._beside.append(asyncio.create_task(topics.watch(), name="topics"))
        registry = self._parts.registry
        monitor = Monitor(log=self._parts.log, registry=registry, health=self._health, on_mismatch=self._note_failure)
        self._beside += [
            asyncio.create_task(monitor.watch(), name="monitor"),
            asyncio.create_task(announce(registry, self._parts.keyring, source=self._settings.source), name="opener"),
            asyncio.create_task(upkeep.keep(registry), name="registry-upkeep"),
            asyncio.create_task(StoreCheck(self._parts.store, self._health).watch(), name="store-check"),
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(self._end(name) for name in list(self._sources)))
        if self._broker is not None:
            await self._broker.stop()
        for task in self._beside:
            task.cancel()
            await asyncio.wait([task])
        if self._llm is not None:
            await self._llm.close()

    async def follow(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises what forbids the active generation, or the one of the name `only`, to go on."""
        while not stop.is_set():
            live = {one.name: one for one in generations.live(self._parts.registry) if self._only in (None, one.name)}
            for name in self._sources.keys() - live.keys():
                log.info("%s was dropped", name)
                await self._end(name)
            for name in self._health.refused.keys() - live.keys():
                del self._health.refused[name]
            await self._dropped.remove()
            if self._credentials is not None and await self._credentials.are_new():
                await self._connect_again()
            for name in live.keys() - self._sources.keys():
                if name not in self._health.refused or self._must_go_on(name):
                    await self._begin(live[name])
            if live.keys() <= self._sources.keys() | self._health.refused.keys():
                self._health.waits_for("group", None)
            await self._look_after_failures()
            await is_set_within(stop, FOLLOW_SECONDS)

    async def _connect_again(self) -> None:
        """Ends every generation's membership, and joins with the new credentials at the next look."""
        from crewmem_consumers.kafka_app import open_broker

        log.info("the credentials for Kafka were changed: connecting with the new ones")
        await asyncio.gather(*(self._end(name) for name in list(self._sources)))
        if self._broker is not None:
            await self._broker.stop()
        self._broker = open_broker(self._settings)
        await self._broker.start()

    async def _begin(self, generation: Generation) -> None:
        if not self._rights.take(generation.name):
            return
        begun = False
        try:
            begun = await self._started(generation)
        finally:
            if not begun:
                self._rights.give_back(generation.name)

    async def _started(self, generation: Generation) -> bool:
        try:
            embedder = await asyncio.to_thread(self._parts.embedders.of, generation)
            generations.check_layout(generation, partitions=self._parts.log.partitions)
            _check_splitter(generation)
            source = self._source(generation, embedder)
            await source.start()
        except LogUnavailable as error:
            self._joining.say(error)
            self._health.waits_for("group", error)
            return False
        except StoreRefused as error:
            self._leave_out(generation.name, error)
            return False
        self._joining.say(None)
        log.info("consuming for %s", generation.name)
        self._sources[generation.name] = source
        self._health.refused.pop(generation.name, None)
        self._health.starting = None
        return True

    async def _end(self, name: str) -> None:
        await self._sources.pop(name).stop()
        self._rights.give_back(name)

    def _source(self, generation: Generation, embedder: Embedder) -> Source:
        settings = self._settings
        owned = OwnedPartitions(
            generation=generation,
            log=self._parts.log,
            store=self._parts.store,
            embedder=embedder,
            dead_letters=self._dead_letters,
            keyring=self._parts.keyring,
            summariser=Summariser(self._llm) if self._llm else None,
            health=self._health,
            limits=Limits(batch_records=settings.batch_rows, batch_wait_seconds=settings.batch_wait_ms / 1000),
            checkpoint=self._checkpoint,
            on_failure=self._note_failure,
            siblings=lambda: [one for one in generations.live(self._parts.registry) if one.name != generation.name],
            is_active=lambda: self._is_active(generation.name),
            newer_schemas=partial(self._redriver, generation),
            sessions=self._sessions,
            right_of_way=self._right_of_way,
            low_rank=self._only_builds,
            preparer=self._parts.preparer,
        )
        if self._broker is None:
            return SqliteWorker(owned)
        from crewmem_consumers.kafka_app import KafkaApp

        return KafkaApp(owned, broker=self._broker, settings=settings)

    def _redriver(self, generation: Generation, partition: int) -> NewerSchemas:
        return NewerSchemas(
            partition=partition,
            reader=self._parts.store.reader(generation.name),
            log=self._parts.log,
            keyring=self._parts.keyring,
            is_active=lambda: self._is_active(generation.name),
            source=self._settings.source,
            checkpoint=self._checkpoint,
        )

    def _note_failure(self, generation: str, error: BaseException) -> None:
        self._failed.put_nowait((generation, error))

    async def _look_after_failures(self) -> None:
        """Raises what ended the active generation, or work beside them all; another generation is left out and said so."""
        for task in self._beside:
            if task.done():
                task.result()
        while not self._failed.empty():
            name, error = self._failed.get_nowait()
            if not isinstance(error, CrewmemError):
                raise error
            self._leave_out(name, error)
            if name in self._sources:
                await self._end(name)

    def _leave_out(self, name: str, error: CrewmemError) -> None:
        if self._must_go_on(name):
            raise error
        log.error("%s is left out: %s", name, error)
        self._health.refused[name] = str(error)

    def _must_go_on(self, name: str) -> bool:
        """Whether a process that cannot consume this generation is of no use."""
        return self._only == name or self._is_active(name)

    @property
    def _only_builds(self) -> bool:
        """Whether this process does nothing that others wait for: nothing answers here, and no group waits for a heartbeat."""
        return self._only is not None and self._broker is None

    def _is_active(self, name: str) -> bool:
        return generations.is_active(self._parts.registry, name)


async def _first_generation(parts: Collaborators, default: str) -> Generation:
    embedder = await asyncio.to_thread(parts.embedders.at_start, parts.registry, default=default)
    return await generations.ensure_first(
        parts.registry, embedder=embedder, partitions=parts.log.partitions, splitter=SPLITTER
    )  # fmt: skip


def _check_splitter(generation: Generation) -> None:
    if generation.splitter != SPLITTER:
        raise StoreRefused(
            f"{generation.name} was cut into spans by splitter {generation.splitter}, this program has splitter {SPLITTER}: "
            "use the crewmem that it was made with, or run `crewmem replay`."
        )


def _starting(health: Health, outage: Outage, error: Exception | None) -> None:
    outage.say(error)
    health.starting = f"{type(error).__name__}: {error}" if error else "start"
