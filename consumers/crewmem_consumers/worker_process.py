"""The process that does the work on records' texts, one record after the other.

It is made to be killed. The kernel ends it when a record takes more CPU time than its budget (RLIMIT_CPU), whatever holds the
interpreter's lock; memory over the budget is refused to it (RLIMIT_DATA). It ends by itself when its parent does: at the end of
the socket's file, or, in the middle of a record, at that record's budget.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from crewmem_consumers.prepare import Work, attempt

READY = "ready"
LOOK_SECONDS = 1.0
"""How often a process that is not stuck looks whether its parent is still there."""


@dataclass(frozen=True, slots=True)
class Budget:
    """For one record: seconds of CPU time, and megabytes of memory beyond what the process has at its start."""

    seconds: float = 30.0
    megabytes: int = 1024


class OverMemory:
    """The answer for a record that asked for more memory than its budget; the process ends after it."""


def serve(connection: Connection, work: Callable[[Work], Any], budget: Budget) -> None:
    """Answers for each Work of each message, in order, until the other side closes."""
    connection.send_bytes(pickle.dumps(READY))
    while True:
        try:
            works: list[Work] = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        for one in works:
            _allow_seconds(budget.seconds)
            try:
                answer = pickle.dumps(work(one), pickle.HIGHEST_PROTOCOL)
            except MemoryError:
                connection.send_bytes(pickle.dumps(OverMemory()))
                return
            connection.send_bytes(answer)


def main(arguments: list[str]) -> None:
    """`<file descriptor> <module:function> <seconds> <megabytes>`."""
    descriptor, place, seconds, megabytes = arguments
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    connection, budget = Connection(int(descriptor)), Budget(float(seconds), int(megabytes))
    module, _, name = place.partition(":")
    work = attempt if not module else getattr(importlib.import_module(module), name)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    _allow_memory(budget.megabytes)
    serve(connection, work, budget)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(0)


def _allow_seconds(seconds: float) -> None:
    """CPU time of the process from now on: the kernel counts whole seconds, so up to one more."""
    with suppress(ImportError):  # Windows has no such limit: the parent's clock is the only one there
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        most = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _allow_memory(megabytes: int) -> None:
    """What may be allocated beyond what there is; and no image of the process is written when it is ended."""
    with suppress(ImportError, OSError, ValueError):  # only Linux says what there is, and holds the limit
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (data + megabytes * 2**20, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        Path("/proc/self/oom_score_adj").write_text("500")
