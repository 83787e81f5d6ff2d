"""The relay of one process, on a thread and loop of its own."""

from __future__ import annotations

import concurrent.futures
from contextlib import suppress

from crewmem_producers.loop_thread import LoopThread
from crewmem_producers.outbox import Outbox
from crewmem_producers.relay import Relay
from crewmem_producers.relay_lock import RelayLock
from crewmem_producers.transport import TransportFactory

BATCH_SECONDS = 2.0
"""How long stopping waits for a batch that is under way; one that is cut off is sent again."""
CLEAN_UP_SECONDS = 1.0


class RelayThread:
    """Runs from when it is made. `outbox` is an object of the relay's own, so that publishing does not wait for its reads."""

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

    def stop(self, *, cut_off: bool = False) -> None:
        """Ends the relay and its thread; another process takes over what is left. Safe to call twice.

        With `cut_off` a batch that is under way is not waited for: the destination does not answer anyway.
        """
        self._thread.call(self._relay.stop)
        with suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            self._run.result(0 if cut_off else BATCH_SECONDS)
        self._thread.stop(CLEAN_UP_SECONDS)
