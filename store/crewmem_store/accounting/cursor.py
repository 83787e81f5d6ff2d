"""Walks log, ledger and store side by side: each is read in pages, and taken up to an offset."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from crewmem_store.rows import LedgerRow
from crewmem_store.store import StoreReader

LEDGER_PAGE = 4_096


class Placed(Protocol):
    """What lies at an offset."""

    @property
    def offset(self) -> int:
        """Its position in the partition."""


T = TypeVar("T", bound=Placed)
U = TypeVar("U")


class Cursor(Generic[T]):
    """Pages of things in offset order, taken as far as they lie below an offset."""

    def __init__(self, pages: AsyncIterator[Sequence[T]]) -> None:
        self._pages = pages
        self._held: deque[T] = deque()
        self._done = False

    async def below(self, end: int) -> list[T]:
        """What lies below `end` and was not taken yet."""
        while not self._done and (not self._held or self._held[-1].offset < end):
            try:
                self._held += await anext(self._pages)
            except StopAsyncIteration:
                self._done = True
        taken = []
        while self._held and self._held[0].offset < end:
            taken.append(self._held.popleft())
        return taken


async def ledger(reader: StoreReader, partition: int, *, end: int) -> AsyncIterator[Sequence[LedgerRow]]:
    """The ledger's rows below `end`. Raises StoreUnavailable."""
    start = 0
    while start < end:
        page = await asyncio.to_thread(reader.ledger, partition, start=start, limit=LEDGER_PAGE)
        if not page:
            return
        yield [row for row in page if row.offset < end]
        start = page[-1].offset + 1


async def in_thread(batches: Iterator[U]) -> AsyncIterator[U]:
    """What a blocking iterator gives, each step of it in a worker thread."""
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        yield batch
