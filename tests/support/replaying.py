"""A machine with a log, a registry and a store in memory, on which memory is replayed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewmem_consumers.replay import Progress, Replayed, replay
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.rows import Vector
from support import machine
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
class Machine(machine.Machine):
    """Counts what it embeds, and notes how a replay goes."""

    embedder: CountingEmbedder | None = field(default_factory=CountingEmbedder)
    progress: list[Progress] = field(default_factory=list)

    async def replay(self, **how: Any) -> Replayed:
        return await replay(
            self.settings, progress=self.progress.append, **self.parts, **how
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def consuming(self) -> AsyncIterator[asyncio.Task[None]]:
        async with super().consuming() as task:
            await until(lambda: self.health.starting is None or task.done(), what="the consumer consumes")
            yield task

    def positions(self) -> dict[str, int]:
        """How far each live generation is."""
        live = generations.live(self.registry)
        return {generation.name: self.store.reader(generation.name).last_offset(0) + 1 for generation in live}

    def contents(self, generation: str) -> dict[str, str | None]:
        return {row.event_id: row.text for row in self.store.reader(generation).rows(["default/s"], partitions=[0]).rows}


@contextlib.asynccontextmanager
async def machine_in(folder: Path) -> AsyncIterator[Machine]:
    """Open and started; nothing is on its log."""
    async with machine.machine_in(folder, Machine) as made:
        yield made
