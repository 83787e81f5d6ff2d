"""A machine with a log, a registry and a store in memory, on which memory is replayed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.replay import Progress, Replayed, replay
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.embedder_shelf import OpenEmbedder
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import Vector
from support.awaiting import until


class CountingEmbedder(HashingEmbedder):
    """Notes what it was asked for."""

    def __init__(self, *, dimensions: int = 384) -> None:
        super().__init__(dimensions=dimensions)
        self.name = f"hashing{dimensions}"
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vector:
        self.texts += texts
        return super().embed(texts)


@dataclass
class Machine:
    settings: ConsumerSettings
    log: EventLog
    registry: Registry
    store: MemoryStore = field(default_factory=MemoryStore)
    embedder: CountingEmbedder | None = field(default_factory=CountingEmbedder)
    open_embedder: OpenEmbedder | None = None
    health: Health = field(default_factory=Health)
    progress: list[Progress] = field(default_factory=list)

    async def replay(self, **how: Any) -> Replayed:
        return await replay(
            self.settings, progress=self.progress.append, log=self.log, registry=self.registry, store=self.store,
            embedder=self.embedder, open_embedder=self.open_embedder, **how,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(
            run(
                self.settings, stop=stop, log=self.log, registry=self.registry, store=self.store, embedder=self.embedder,
                open_embedder=self.open_embedder, health=self.health,
            )
        )  # fmt: skip
        try:
            await until(lambda: self.health.starting is None or task.done(), what="the consumer consumes")
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 60)

    def positions(self) -> dict[str, int]:
        """How far each live generation is."""
        live = generations.live(self.registry)
        return {generation.name: self.store.reader(generation.name).last_offset(0) + 1 for generation in live}

    def contents(self, generation: str) -> dict[str, str | None]:
        return {row.event_id: row.text for row in self.store.reader(generation).rows(["default/s"], partitions=[0]).rows}


@contextlib.asynccontextmanager
async def machine_in(folder: Path) -> AsyncIterator[Machine]:
    """Open and started; nothing is on its log."""
    folder.mkdir(exist_ok=True)
    settings = ConsumerSettings(home=folder)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    made = Machine(settings, log, registry)
    made.store.open(namespace=settings.namespace)
    try:
        yield made
    finally:
        await registry.close()
        await log.close()
