"""What every call works with: the collaborators of one service, and the generation that answers one request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from crewmem_producers.log import EventLog
from crewmem_producers.names import Scope, partition_of
from crewmem_producers.registry import Registry
from crewmem_producers.sealing import Sealer
from crewmem_producers.settings import ServiceSettings
from crewmem_producers.topic_watch import TopicWatch
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.generations import Generation
from crewmem_store.search import Weights
from crewmem_store.service.admission import Admission, Progress
from crewmem_store.service.buckets import RateLimit
from crewmem_store.service.fair_pool import FairPool
from crewmem_store.service.freshness import LogEnds
from crewmem_store.service.generation_embedders import GenerationEmbedders
from crewmem_store.service.metrics import Metrics
from crewmem_store.service.producers import ProducerReports
from crewmem_store.service.refusals import Refusals
from crewmem_store.service.switching import Switching
from crewmem_store.service.unread import UnreadBatches
from crewmem_store.service.view_watch import ViewWatch
from crewmem_store.stalls import Stalls
from crewmem_store.store import Rows, Store, StoreReader


class Readers:
    """One reader a generation, opened at its first use; those used last are kept. Its methods block; thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._watches: dict[str, ViewWatch] = {}
        self._stopped = False

    def of(self, generation: str) -> StoreReader:
        """The generation's reader, the same one for every call."""
        return self.watch(generation).reader

    def watch(self, generation: str) -> ViewWatch:
        """The generation's reader, and what waits for it, the same ones for every call."""
        with self._lock:
            watch = self._watches.pop(generation, None) or ViewWatch(self._store.reader(generation))
            self._watches[generation] = watch
            while len(self._watches) > generations.MAX_LIVE:
                del self._watches[next(iter(self._watches))]
            if self._stopped:
                watch.stop()
            return watch

    def stop(self) -> None:
        """Answer every call that waits for a view, and every later one, with 503. On the event loop."""
        with self._lock:
            self._stopped = True
            for watch in self._watches.values():
                watch.stop()


@dataclass(frozen=True, slots=True)
class View:
    """One generation, from a request's start to its end."""

    generation: Generation
    watch: ViewWatch
    embedder: Embedder

    @property
    def reader(self) -> StoreReader:
        """What is read of it."""
        return self.watch.reader

    def partition(self, scope: Scope) -> int:
        """Where the session lies."""
        return partition_of(scope.key, self.generation.partitions)

    def rows(self, scopes: Collection[Scope]) -> Rows:
        """Rows with text of these sessions, from where they lie. Blocks. Raises StoreUnavailable."""
        return self.reader.rows({str(scope) for scope in scopes}, partitions={self.partition(scope) for scope in scopes})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The collaborators, started and opened by whoever made them. Without a `sealer` events go to the log plain."""

    settings: ServiceSettings
    log: EventLog
    registry: Registry
    store: Store
    embedders: GenerationEmbedders
    clock: Callable[[], datetime]
    readers: Readers
    ends: LogEnds
    producers: ProducerReports
    reads: FairPool
    """Where what tenants ask of the store is computed."""
    intake: FairPool
    """Where what tenants publish is checked and encoded."""
    admission: Admission
    unread: UnreadBatches
    rate: RateLimit
    refusals: Refusals
    sealer: Sealer | None = None
    topics: TopicWatch | None = None
    """None without a broker."""
    metrics: Metrics = field(default_factory=Metrics)
    stalls: Stalls = field(default_factory=Stalls)
    switching: Switching = field(default_factory=Switching)

    @property
    def weights(self) -> Weights:
        """The signals of recall as the settings tune them."""
        return Weights(
            recency=self.settings.recency_weight,
            half_life=timedelta(days=self.settings.recency_half_life_days),
            importance=self.settings.importance_weight,
        )

    async def view(self) -> View:
        """The active generation, with its own embedder. Raises UnknownGeneration before there is one, EmbedderMismatch,
        PartitionsChanged."""
        generation = generations.active(self.registry)
        generations.check_layout(generation, partitions=self.log.partitions)
        embedder = await self.embedders.of(generation)
        watch = await run_in_threadpool(self.readers.watch, generation.name)
        await self.switching.settled(generation, watch)
        return View(generation, watch, embedder)

    async def progress(self) -> Progress:
        """How far the active generation is, and the log. Raises CrewmemError when that cannot be known now."""
        view = await self.view()
        ends = await self.ends.of(range(view.generation.partitions))
        logged = {mark.partition: mark.offset or 0 for mark in ends}
        return Progress(await run_in_threadpool(_decided, view.reader, list(logged)), logged)


def _decided(reader: StoreReader, partitions: Collection[int]) -> dict[int, int]:
    return {partition: reader.last_offset(partition) for partition in partitions}


def parts_of(request: Request) -> Parts:
    """The dependency of every route."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts
