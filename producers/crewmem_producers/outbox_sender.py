"""Publishing through the outbox: durable at once, sent by the relay of this or another process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from crewmem_producers import filesystem
from crewmem_producers.destination import outbox_path
from crewmem_producers.events import Event
from crewmem_producers.outbox import Outbox, OutboxStatus
from crewmem_producers.receipt import Receipt
from crewmem_producers.relay_thread import RelayThread
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport import Fate, TransportFactory

log = logging.getLogger(__name__)


class OutboxSender:
    """One process's end of an outbox, with its relay. Made at first use in a process, never carried over a fork."""

    def __init__(self, settings: CrewSettings, open_transport: TransportFactory) -> None:
        path = outbox_path(settings)
        if sentence := filesystem.warning(path.parent):
            log.warning("%s", sentence)
        max_bytes = settings.outbox_max_mb * 1_000_000
        self.outbox = Outbox(path, max_bytes=max_bytes)
        self._stalled_at: int | None = None
        self._relay = _relaying(Outbox(path, max_bytes=max_bytes), open_transport, settings.tenant)

    def publish(self, events: Sequence[Event]) -> Receipt:
        """Durable in the outbox when it returns. Raises OutboxFull, OutboxBroken, InvalidEvent."""
        seqs = self.outbox.append(events)
        if self._relay is not None:
            self._relay.wake()
        return Receipt(ids=[event.id for event in events], fates=lambda: _all_fates(self.outbox, seqs))

    def flushing(self) -> Callable[[], bool]:
        """A function that tells whether what waits at this moment has been sent since, by any process, or was refused."""
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

    def close(self, *, cut_off: bool = False) -> None:
        """Stops the relay, with `cut_off` in the middle of a batch; another process takes over what is left."""
        if self._relay is not None:
            self._relay.stop(cut_off=cut_off)
        self.outbox.close()


def _relaying(outbox: Outbox, open_transport: TransportFactory, tenant: str) -> RelayThread | None:
    try:
        return RelayThread(outbox=outbox, open_transport=open_transport, tenant=tenant)
    except RuntimeError:
        log.warning("the interpreter is ending; what is published now waits in %s for the next process", outbox.path)
        return None


def _all_fates(outbox: Outbox, seqs: Sequence[int]) -> list[Fate] | None:
    fates = outbox.fates(seqs)
    return [fates[seq] for seq in seqs] if len(fates) == len(seqs) else None
