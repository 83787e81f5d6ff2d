"""The relay of one process, on a thread and loop of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import suppress

from crewmem_producers.loop_thread import LoopThread
from crewmem_producers.outbox import Outbox
from crewmem_producers.relay import Relay
from crewmem_producers.relay_lock import RelayLock
from crewmem_producers.transport import TransportFactory

STOP_SECONDS = 2.0
"""How long the end of a process waits for a batch that is under way; one that is cut off is sent again."""


class RelayThread:
    """Started when made. `outbox` is the relay's own, so that publishing does not wait for its reading."""

    def __init__(self, *, outbox: Outbox, open_transport: TransportFactory, tenant: str) -> None:
        """Raises RuntimeError when the interpreter starts no more threads, and what `open_transport` raises."""
        self._relay = Relay(
            outbox=outbox,
            transport=open_transport(),
            lock=RelayLock(outbox.path.with_suffix(".relay")),
            tenant=tenant,
        )
        self._thread = LoopThread("crewmem-relay")
        self._run = self._thread.submit(self._relay.run())

    def wake(self) -> None:
        """There is something to send."""
        self._thread.call(self._relay.wake)

    def stop(self) -> None:
        """Ends the relay and its thread; another process takes over what is left. Safe to call twice."""
        self._thread.call(self._relay.stop)
        with suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError, asyncio.CancelledError):
            self._run.result(STOP_SECONDS)
        self._thread.stop(STOP_SECONDS)
