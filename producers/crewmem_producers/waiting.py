"""Waiting for what another thread or process does, the same way for synchronous and asynchronous callers."""

from __future__ import annotations

import time
from collections.abc import Iterator

SHORTEST_SECONDS = 0.005
LONGEST_SECONDS = 0.05


def pauses(timeout_seconds: float) -> Iterator[float]:
    """Seconds to sleep before looking again, growing from 5 to 50 ms; ends when the time is over.

    The caller looks before each pause and once more after the last, so a time-out of 0 looks exactly once.
    """
    deadline = time.monotonic() + timeout_seconds
    pause = SHORTEST_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, LONGEST_SECONDS)
