"""Publishing through the outbox: durable at once, sent by the relay of this or another process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from crewmem_producers import filesystem
from crewmem_producers.destination import outbox_path
from crewmem_producers.events import Event
from crewmem_producers.loop_thread import LoopThread
from crewmem_producers.outbox import Outbox, OutboxStatus
from crewmem_producers.receipt import Receipt
from crewmem_producers.relay import Relay
from crewmem_producers.relay_lock import RelayLock
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport import Fate, TransportFactory

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0


class OutboxSender:
    """One process's end of an outbox, with its relay. Made at first use in a process, never carried over a fork."""

    def __init__(self, settings: CrewSettings, open_transport: TransportFactory) -> None:
        path = outbox_path(settings)
        if sentence := filesystem.warning(path.parent):
            log.warning("%s", sentence)
        max_bytes = settings.outbox_max_mb * 1_000_000
        self.outbox = Outbox(path, max_bytes=max_bytes)
        self._stalled_at: int | None = None
        # the relay has a connection of its own, so that publishing does not wait for its reading
        self._thread, self._wake = _started(Outbox(path, max_bytes=max_bytes), open_transport, settings.tenant)

    def publish(self, events: Sequence[Event]) -> Receipt:
        """Durable in the outbox when it returns. Raises OutboxFull, OutboxBroken, InvalidEvent."""
        seqs = self.outbox.append(events)
        self._wake()
        return Receipt(ids=[event.id for event in events], fates=lambda: _all_fates(self.outbox, seqs))

    def flushing(self) -> Callable[[], bool]:
        """What tells whether everything that waits now has been sent, by whichever process, or was refused."""
        newest = self.outbox.newest()
        return lambda: not self.outbox.waits(newest)

    def stalled(self) -> bool:
        """Whether a flush has timed out and no event was delivered since, by this or another process."""
        return self._stalled_at is not None and self.outbox.delivered() == self._stalled_at

    def timed_out(self) -> None:
        """A flush has timed out: the next ones do not wait before the relay has succeeded."""
        self._stalled_at = self.outbox.delivered()

    def status(self) -> OutboxStatus:
        return self.outbox.status()

    def close(self) -> None:
        """Stops the relay; another process takes over what is left."""
        if self._thread is not None:
            self._thread.stop(STOP_SECONDS)
        self.outbox.close()


def _started(outbox: Outbox, open_transport: TransportFactory, tenant: str) -> tuple[LoopThread | None, Callable[[], None]]:
    """The relay's thread, running, and what wakes the relay."""
    try:
        thread = LoopThread("crewmem-relay")
    except RuntimeError:  # the interpreter is ending: what is published now is sent by the next process
        log.warning("no relay can be started now; what is published waits in %s", outbox.path)
        return None, lambda: None
    lock = RelayLock(outbox.path.with_suffix(".relay"))

    async def start() -> Relay:
        return Relay(outbox=outbox, transport=open_transport(), lock=lock, tenant=tenant)

    relay = thread.submit(start()).result()
    thread.submit(relay.run())
    return thread, lambda: thread.call(relay.wake)


def _all_fates(outbox: Outbox, seqs: Sequence[int]) -> list[Fate] | None:
    fates = outbox.fates(seqs)
    return [fates[seq] for seq in seqs] if len(fates) == len(seqs) else None
