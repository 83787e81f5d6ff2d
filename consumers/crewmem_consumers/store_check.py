"""Reads the partitions of this process whole now and then: files that are gone, or memories that are not what was written, are
found before somebody asks for them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence

from crewmem_producers.errors import StoreUnavailable
from crewmem_store.errors import StoreDamaged
from crewmem_store.store import Changed, Store, StoreReader

from crewmem_consumers.health import Health, PartitionStatus

log = logging.getLogger("crewmem.consumer")

FIRST_SECONDS = 60.0
"""So long after a partition was taken over it is read for the first time."""
EVERY_SECONDS = 24 * 3600.0
AGAIN_SECONDS = 600.0
"""So soon it is read again where it was damaged, or the store did not answer: files may be put back."""
LOOK_SECONDS = 5.0
REST = 9.0
"""After each page it rests for so many times what the page took: it has a tenth of one thread at most."""


class StoreCheck:
    """Fills the statuses' `damaged`. One partition at a time; a page of some thousand rows is held."""

    def __init__(
        self, store: Store, health: Health, *, first_seconds: float = FIRST_SECONDS, every_seconds: float = EVERY_SECONDS,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:  # fmt: skip
        self._store = store
        self._health = health
        self._first, self._every, self._again = first_seconds, every_seconds, again_seconds
        self._due: dict[tuple[str, int], tuple[PartitionStatus, float]] = {}

    async def watch(self, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(look_seconds)

    async def look(self) -> None:
        """Reads what is due."""
        now = time.monotonic()
        owned = self._health.partitions
        self._due = {place: due for place, due in self._due.items() if owned.get(place) is due[0]}
        for place, status in list(owned.items()):
            _, at = self._due.get(place, (status, now + self._first))
            if status.damaged is not None:  # met by a read, which may have lost the race with a clean-up
                at = min(at, now + self._again)
            self._due[place] = status, at
            if now >= at:
                whole = await self._read(status)
                self._due[place] = status, time.monotonic() + (self._every if whole else self._again)

    async def _read(self, status: PartitionStatus) -> bool:
        """Whether it was read to its end and is what was written."""
        reader, before = self._store.reader(status.generation), status.damaged
        try:
            await self._read_pages(reader, status)
            status.damaged = reader.damage([status.partition]).get(status.partition)
        except StoreDamaged as error:
            status.damaged = str(error)
        except StoreUnavailable as error:
            log.debug("%s partition %d was not checked: %s", status.generation, status.partition, error)
            return False
        if status.damaged is not None and before is None:
            log.error("%s partition %d is damaged: %s", status.generation, status.partition, status.damaged)
        return status.damaged is None

    async def _read_pages(self, reader: StoreReader, status: PartitionStatus) -> None:
        pages = reader.check(status.partition)
        while True:
            began = time.monotonic()
            if await asyncio.to_thread(_next, pages) is None:
                return
            await asyncio.sleep(REST * (time.monotonic() - began))


def _next(pages: Iterator[tuple[int, Sequence[Changed]]]) -> tuple[int, Sequence[Changed]] | None:
    return next(pages, None)
