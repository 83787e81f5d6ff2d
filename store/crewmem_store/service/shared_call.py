"""One run of a call for every caller that waits for it: a thousand callers cost what one costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Belongs to one event loop. A caller never gets the result of a run that began before it asked.

    The run is a task of its own: a caller that is cancelled stops waiting, and the others still get the result.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return what the next run returns. Raise what it raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(after=self._running))
            self._next.add_done_callback(_retrieved)
        return await asyncio.shield(self._next)

    async def _run(self, *, after: asyncio.Task[T] | None) -> T:
        if after is not None:
            await asyncio.wait([after])
        self._running, self._next = self._next, None  # from here on callers need a later run
        return await self._call()


def _retrieved(task: asyncio.Task[T]) -> None:
    """An error that no caller waited for is no news to the loop."""
    if not task.cancelled():
        task.exception()
