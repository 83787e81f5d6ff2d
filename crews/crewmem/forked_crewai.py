"""CrewAI in a child of `os.fork`: its event bus begins anew there.

The bus of CrewAI 1.15 keeps a pool of threads, which a child inherits without the threads. A kickoff in the child then hands an
event to a thread that is not there, and waits for ever; whether it does depends on how many threads were idle at the fork. So
workers that are forked from a process that has run a crew (multiprocessing, gunicorn, Celery) would hang now and then.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from crewmem_producers import forks


class _EventBus:
    """Watched for as long as the process lives."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        forks.watch(self)

    def before_fork(self) -> None:
        """Nothing is held: what the bus does just then belongs to the parent."""

    def after_fork_in_parent(self) -> None:
        """The parent's threads are all there."""

    def after_fork_in_child(self) -> None:
        """The bus makes its threads and its loop again at the next event. Its locks may have been held by threads that are not
        here; what they were about to do is done by the parent."""
        bus = self._bus
        bus._executor_initialized = False
        bus._pending_futures, bus._has_pending_events = set(), False
        bus._futures_lock, bus._rwlock = threading.Lock(), type(bus._rwlock)()


@functools.cache
def watched() -> _EventBus:
    """From now on a fork of this process leaves CrewAI's bus usable in the child. Loads CrewAI."""
    from crewai.events.event_bus import crewai_event_bus

    return _EventBus(crewai_event_bus)
