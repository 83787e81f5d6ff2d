"""One machine: a log, a registry and a store in memory, and a consumer of this process that can be started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.prepare import Preparer
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.started import started
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.embedder_shelf import OpenEmbedder
from crewmem_store.memory import MemoryStore
from support.awaiting import until

PATIENCE_SECONDS = 60


@dataclass
class Machine:
    """`parts` is what is handed to whatever runs here: they stay open."""

    settings: ConsumerSettings
    log: EventLog
    registry: Registry
    store: MemoryStore = field(default_factory=MemoryStore)
    embedder: HashingEmbedder | None = field(default_factory=HashingEmbedder)
    open_embedder: OpenEmbedder | None = None
    preparer: Preparer | None = None
    health: Health = field(default_factory=Health)

    @property
    def parts(self) -> dict[str, Any]:
        names = ("log", "registry", "store", "embedder", "open_embedder", "preparer")
        return {name: getattr(self, name) for name in names}

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[asyncio.Task[None]]:
        """Gives the consumer's task. What ends it by itself is raised in the end."""
        stop, self.health = asyncio.Event(), Health()
        task = asyncio.create_task(run(self.settings, stop=stop, health=self.health, **self.parts))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.wait_for(task, PATIENCE_SECONDS)

    async def processed(self, offset: int, *, generation: str = "g1") -> None:
        """Returns once the ledger has that offset."""
        reader = self.store.reader(generation)
        await until(lambda: reader.last_offset(0) >= offset, what=f"{generation} has processed {offset}")


M = TypeVar("M", bound=Machine)


@asynccontextmanager
async def machine_in(folder: Path, kind: type[M], **settings: Any) -> AsyncIterator[M]:
    """A machine of that kind at this home, started; nothing is on its log."""
    folder.mkdir(exist_ok=True)
    loaded = ConsumerSettings(home=folder, **settings)
    async with started(open_log(loaded)) as log, started(open_registry(loaded)) as registry:
        made = kind(loaded, log, registry)
        made.store.open(namespace=loaded.namespace)
        yield made
