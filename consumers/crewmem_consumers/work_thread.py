"""The thread of a worker; where nothing else of its process waits for it, it gives way to everything else on the machine."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

NICENESS = 10
"""Beside busy threads it gets a tenth of their time, and all of it beside idle ones."""


class WorkThread:
    """Runs one thing after the other. `in_background()` says whether the thread has a lower rank.

    For a process that only builds. Beside a generation that answers a lower rank does harm: see `right_of_way`.
    """

    def __init__(self, name: str, *, in_background: Callable[[], bool] = lambda: False) -> None:
        self._name = name
        self._in_background = in_background
        self._gives_way = in_background()
        self._executor = self._started()

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, which runs on the thread when everything before it is done."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def look(self) -> None:
        """Sees to it that the thread has the right rank. Call it where nothing runs: a thread that gave way cannot be raised
        again without rights that nobody should need, so a new one takes its place."""
        if self._gives_way != self._in_background():
            self._gives_way = not self._gives_way
            self._executor.shutdown(wait=False)
            self._executor = self._started()

    def close(self) -> None:
        """Returns at once; what runs is finished."""
        self._executor.shutdown(wait=False)

    def _started(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=self._name, initializer=give_way if self._gives_way else None)


def give_way() -> None:
    """Ranks the calling thread behind others, and with it those that a model starts from it. Linux ranks threads one by one;
    elsewhere nothing happens."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
