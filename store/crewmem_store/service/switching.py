"""After a switch no answer may be older than one that any service gave before.

A new generation is written batch by batch like the old one, and may be a moment behind it. So for some seconds after a
switch each service waits, before it answers, until the new one holds all that the old one holds.
"""

from __future__ import annotations

import asyncio

from crewmem_producers.errors import Unavailable
from crewmem_producers.freshness import Mark
from starlette.concurrency import run_in_threadpool

from crewmem_store.generations import Generation
from crewmem_store.service import freshness
from crewmem_store.service.view_watch import ViewWatch
from crewmem_store.store import StoreReader

SETTLE_SECONDS = 5.0
"""How long after a switch services may still answer from the generation before: the registry reaches them within a second."""


class Switching:
    """Belongs to one event loop, and to one service."""

    def __init__(self) -> None:
        self._answers: str | None = None
        self._reader: StoreReader | None = None
        self._before: StoreReader | None = None
        self._settled_at = 0.0

    async def settled(self, generation: Generation, watch: ViewWatch) -> None:
        """Returns once this generation holds what the one before it holds; at once when the last switch was long ago."""
        loop = asyncio.get_running_loop()
        if generation.name != self._answers:
            self._before = self._reader
            self._settled_at = loop.time() + SETTLE_SECONDS
            self._answers, self._reader = generation.name, watch.reader
        left = self._settled_at - loop.time()
        if self._before is None or left <= 0:
            self._before = None
            return
        try:
            held = await run_in_threadpool(_held, self._before, generation.partitions)
            await freshness.wait(watch, held, seconds=left)
        except Unavailable:
            return  # the generation before was dropped, or the store is away: then the call itself says so


def _held(reader: StoreReader, partitions: int) -> list[Mark]:
    last = {partition: reader.last_offset(partition) for partition in range(partitions)}
    return [Mark(partition, offset=offset) for partition, offset in last.items() if offset >= 0]
