"""A reader under which clean-ups take away what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from crewmem_producers.errors import StoreUnavailable
from crewmem_store.rows import MemoryRow
from crewmem_store.store import StoreReader


class CleanedUp:
    """A `StoreReader` whose first `losses` scans lose their version after the first rows."""

    def __init__(self, reader: StoreReader, *, losses: int) -> None:
        self._reader = reader
        self._losses = losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def scan(self, partition: int) -> Iterator[Sequence[MemoryRow]]:
        for rows in self._reader.scan(partition):
            yield rows
            if self._losses:
                self._losses -= 1
                raise StoreUnavailable("a clean-up took it")
