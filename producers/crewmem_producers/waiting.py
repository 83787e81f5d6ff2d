"""Waiting for what another thread or process does, the same way for synchronous and asynchronous callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

SHORTEST_SECONDS = 0.005
LONGEST_SECONDS = 0.05


def wait_until(done: Callable[[], bool], timeout_seconds: float) -> bool:
    """Asks `done` again and again, at least once, until it says yes or the time is over. Gives its last answer."""
    for pause in _pauses(timeout_seconds):
        if done():
            return True
        time.sleep(pause)
    return done()


async def await_until(done: Callable[[], bool], timeout_seconds: float) -> bool:
    """The same for asyncio. Each question runs in a worker thread; none is held in between, so that many can wait at once."""
    for pause in _pauses(timeout_seconds):
        if await asyncio.to_thread(done):
            return True
        await asyncio.sleep(pause)
    return await asyncio.to_thread(done)


def _pauses(timeout_seconds: float) -> Iterator[float]:
    """Seconds to sleep before looking again, growing from 5 to 50 ms; ends when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    pause = SHORTEST_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, LONGEST_SECONDS)
