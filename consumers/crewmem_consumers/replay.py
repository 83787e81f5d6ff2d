"""Memory built anew from the log, into a new generation, with the newest rules; then every reader is switched to it.

Consumers are stopped meanwhile. What is interrupted goes on where it was: the new generation's ledger is its position.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.errors import UnknownGeneration
from crewmem_store.generations import Generation
from crewmem_store.store import Store

from crewmem_consumers.dead_letters import LogDeadLetters
from crewmem_consumers.errors import ConsumerRunning
from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.newest_rules import newest_rules
from crewmem_consumers.opening import Collaborators, only_consumer, opened
from crewmem_consumers.partition_log import PartitionLog
from crewmem_consumers.reuse import ReusingEmbedder
from crewmem_consumers.split import SPLITTER
from crewmem_consumers.steps import Checkpoint, no_checkpoint

BATCH_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: records over all partitions."""

    generation: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a rebuild did. `embedded` texts went through the model, `reused` vectors came from the generation before."""

    generation: str
    replaced: str | None
    records: int
    outcomes: dict[str, int]
    embedded: int
    reused: int


async def replay(
    settings: ConsumerSettings,
    *,
    progress: Callable[[Progress], None] = lambda progress: None,
    checkpoint: Checkpoint = no_checkpoint,
    log: EventLog | None = None,
    registry: Registry | None = None,
    store: Store | None = None,
    embedder: Embedder | None = None,
) -> Replayed:
    """Builds a new generation from the log as it is now, with `settings.embedder` and the newest rules, and activates it.

    Collaborators that are handed in are started already and stay open. `progress` is called after each batch. Raises
    ConsumerRunning while a consumer works on this log, and what opening raises; Unavailable is raised too: run it again,
    it goes on where it was.
    """
    with only_consumer(settings):
        async with opened(settings, log=log, registry=registry, store=store, embedder=embedder) as parts:
            await parts.registry.refresh()
            await _refuse_running_consumers(settings, parts.registry)
            return await _Replay(parts, progress=progress, checkpoint=checkpoint).run()


class _Replay:
    """One run of `replay`."""

    def __init__(
        self, parts: Collaborators, *, progress: Callable[[Progress], None], checkpoint: Checkpoint
    ) -> None:  # fmt: skip
        self._parts = parts
        self._progress = progress
        self._checkpoint = checkpoint
        self._embedder = ReusingEmbedder(parts.embedder)
        self._outcomes: Counter[str] = Counter()
        self._positions: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._ends: dict[int, int] = {}

    async def run(self) -> Replayed:
        parts = self._parts
        old = _active(parts.registry)
        self._first, self._ends = await parts.log.first(), await parts.log.end()
        new = await self._generation(old)
        if old is not None:
            self._embedder.reuse(old, parts.store.reader(old.name))
        await self._pass(new)
        self._ends = await parts.log.end()  # what was published meanwhile
        await self._pass(new)
        await generations.activate(parts.registry, new.name)
        return Replayed(
            generation=new.name,
            replaced=old.name if old else None,
            records=self._outcomes.total(),
            outcomes=dict(self._outcomes),
            embedded=self._embedder.embedded,
            reused=self._embedder.reused,
        )

    async def _generation(self, old: Generation | None) -> Generation:
        """The rebuild that was interrupted, if it is of the same making; else a new generation."""
        parts, embedder = self._parts, self._parts.embedder
        live = generations.live(parts.registry)
        rules = await newest_rules(parts.log, first=self._first, ends=self._ends)
        if live and old is not None and live[-1].name != old.name and _same_making(live[-1], parts, rules):
            return live[-1]
        await self._make_room(live, old)
        new = Generation(
            name=generations.next_name(parts.registry),
            embedder=embedder.name,
            embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions,
            partitions=parts.log.partitions,
            splitter=SPLITTER,
            rules=rules,
            rules_until={str(partition): end for partition, end in self._ends.items()} if rules else {},
        )
        await generations.save(parts.registry, new)
        return new

    async def _make_room(self, live: list[Generation], old: Generation | None) -> None:
        """At most MAX_LIVE are live with the new one: the oldest that nobody reads goes, since a replay can make it again."""
        spare = [generation for generation in live if old is None or generation.name != old.name]
        while len(live) >= generations.MAX_LIVE:
            gone = spare.pop(0)
            live.remove(gone)
            await generations.save(self._parts.registry, replace(gone, dropped=True))
            await asyncio.to_thread(self._parts.store.drop, gone.name)

    async def _pass(self, generation: Generation) -> None:
        """Every partition up to `_ends`."""
        for partition in range(generation.partitions):
            async with self._ingestor(generation, partition) as ingestor:
                await self._partition(generation, partition, ingestor)

    async def _partition(self, generation: Generation, partition: int, ingestor: Ingestor) -> None:
        log = self._parts.log
        at = await asyncio.to_thread(ingestor.position)
        before = await PartitionLog(log, partition).record_at(at - 1) if at else None
        await asyncio.to_thread(ingestor.verify, before)
        at = max(at, self._first[partition])
        while at < self._ends[partition] and (records := await log.read(partition, at, limit=BATCH_RECORDS)):
            await asyncio.to_thread(self._embedder.prepare, records)
            processed = await asyncio.to_thread(ingestor.process, records)
            assert processed is not None, "nobody told it to stop"
            await asyncio.to_thread(ingestor.idle)
            self._outcomes.update(processed.outcomes)
            at = records[-1].offset + 1
            self._positions[partition] = at
            self._progress(self._so_far(generation))
        self._positions[partition] = max(at, self._ends[partition])
        self._progress(self._so_far(generation))

    @contextlib.asynccontextmanager
    async def _ingestor(self, generation: Generation, partition: int) -> AsyncIterator[Ingestor]:
        parts = self._parts
        store = await asyncio.to_thread(
            parts.store.partition, generation.name, partition, dimensions=generation.dimensions
        )  # fmt: skip
        try:
            yield Ingestor(
                generation=generation,
                partition=partition,
                store=store,
                embedder=self._embedder,
                dead_letters=LogDeadLetters(parts.dead_letter_log, loop=asyncio.get_running_loop()),
                checkpoint=self._checkpoint,
            )
        finally:
            await asyncio.to_thread(store.close)

    def _so_far(self, generation: Generation) -> Progress:
        total = sum(end - self._first[partition] for partition, end in self._ends.items())
        done = sum(at - self._first[partition] for partition, at in self._positions.items())
        return Progress(generation.name, min(done, total), total)


async def _refuse_running_consumers(settings: ConsumerSettings, registry: Registry) -> None:
    """On Kafka the groups tell; `only_consumer` has told on SQLite."""
    if settings.kafka_bootstrap is None:
        return
    from crewmem_consumers.group import members

    for generation in generations.live(registry):
        if count := await members(settings, generation.name):
            raise ConsumerRunning(
                f"{count} consumers work on {generation.name}: stop them, then try again (one that was killed counts until "
                "its session has timed out, half a minute at most)"
            )


def _active(registry: Registry) -> Generation | None:
    try:
        return generations.active(registry)
    except UnknownGeneration:
        return None


def _same_making(generation: Generation, parts: Collaborators, rules: str | None) -> bool:
    return (
        generation.embedder_fingerprint == parts.embedder.fingerprint
        and generation.partitions == parts.log.partitions
        and generation.splitter == SPLITTER
        and generation.rules == rules
    )
