"""The right of way in one process: a generation that is built takes its next step only while the one that answers has no work.

A lower rank of its threads would do the opposite on a busy machine. A thread of low rank that holds the interpreter's lock, and
is given no core by the kernel, stops every other thread of its process: also the one that sends the group's heartbeats.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEAST_SHARE = 0.2
"""Of one thread's time: what the generations that are built get in any case, so that none of them ever stands still."""
LONGEST_REST_SECONDS = 10.0
"""A step that took very long, on a machine that was busy, is not followed by an even longer rest."""
LOOK_SECONDS = 0.25
"""How often a thread that waits looks whether it is to stop."""


class RightOfWay:
    """Shared by all partitions of a process. Thread-safe; every method is called on a worker's thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._answering = 0
        self._stepping: int | None = None
        """The thread that takes a step beside work of the generation that answers."""
        self._began_at = 0.0
        self._rest_until = float("-inf")

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Work of the generation that answers; everything else gives way meanwhile."""
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                self._changed.notify_all()

    @contextmanager
    def building(self, stopping: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Work of a generation that is built. Call what is given at each border between two steps: it waits there while the
        generation that answers has work, and returns whether to stop.

        Beside such work the threads that build take steps one at a time, and rest in between, so that together they use
        LEAST_SHARE of one thread's time.
        """
        try:
            yield lambda: self._border(stopping)
        finally:
            with self._changed:
                self._end_step()

    def _border(self, stopping: Callable[[], bool]) -> bool:
        with self._changed:
            self._end_step()
            while not stopping():
                if not self._answering:  # between two of its batches: a trickle leaves most of the time to what is built
                    return False
                if self._stepping is None and self._clock() >= self._rest_until:
                    self._stepping, self._began_at = threading.get_ident(), self._clock()
                    return False
                self._changed.wait(LOOK_SECONDS)
        return True

    def _end_step(self) -> None:
        if self._stepping == threading.get_ident():
            now = self._clock()
            rest = (now - self._began_at) * (1 / LEAST_SHARE - 1)
            self._stepping, self._rest_until = None, now + min(rest, LONGEST_REST_SECONDS)
            self._changed.notify()
