"""What is started before it is used, and closed in the end: a log, a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar


class Part(Protocol):
    """It can be closed also when it did not start."""

    async def start(self) -> None:
        """Connects."""

    async def close(self) -> None:
        """Frees what was opened."""


P = TypeVar("P", bound=Part)


@asynccontextmanager
async def started(part: P) -> AsyncIterator[P]:
    """The part, started, for as long as the block lasts. Raises what its `start` raises."""
    try:
        await part.start()
        yield part
    finally:
        await part.close()
