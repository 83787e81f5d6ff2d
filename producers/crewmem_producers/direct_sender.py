"""Publishing without an outbox (CREWMEM_DURABILITY=log): on the log when it returns, or an error and nothing is kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from crewmem_producers.compat import timeout
from crewmem_producers.errors import EventRefused, LogUnavailable, Unavailable
from crewmem_producers.events import Event
from crewmem_producers.limits import BATCH_EVENTS
from crewmem_producers.loop_thread import LoopThread
from crewmem_producers.outbox import OutboxStatus
from crewmem_producers.receipt import Receipt
from crewmem_producers.relay import backoff
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport import Fate, Refused, Transport, TransportFactory

STOP_SECONDS = 2.0


class DirectSender:
    """Sends one publish after the other. Made at first use in a process, never carried over a fork."""

    def __init__(self, settings: CrewSettings, open_transport: TransportFactory) -> None:
        self._timeout_seconds = settings.flush_seconds
        self._thread = LoopThread("crewmem-sender")
        self._transport, self._turn = self._thread.submit(_made(open_transport)).result()
        self._thread.submit(_closed_at_the_end(self._transport))

    def publish(self, events: Sequence[Event]) -> Receipt:
        """Waits until the log has acknowledged. Raises LogUnavailable, TransportRefused, EventRefused."""
        fates = self._thread.submit(self._send(events)).result()
        refused = [fate.reason for fate in fates if isinstance(fate, Refused)]
        if refused:
            raise EventRefused(f"{len(refused)} of {len(fates)} events were refused for ever: {refused[0]}")
        return Receipt(ids=[event.id for event in events], fates=lambda: fates)

    def flushing(self) -> Callable[[], bool]:
        """What is published is on the log already, so that nothing is ever waited for."""
        return lambda: True

    def stalled(self) -> bool:
        return False

    def timed_out(self) -> None:
        """A flush has nothing to wait for."""

    def status(self) -> OutboxStatus:
        """An empty one, without a path."""
        return OutboxStatus()

    def close(self, *, cut_off: bool = False) -> None:
        """Frees the connection; `cut_off` changes nothing, since nothing is under way."""
        self._thread.stop(STOP_SECONDS)

    async def _send(self, events: Sequence[Event]) -> list[Fate]:
        failures: list[Unavailable] = []
        try:
            async with timeout(self._timeout_seconds), self._turn:
                return await self._persist(events, failures)
        except asyncio.TimeoutError as error:
            why = failures[-1] if failures else error
            raise LogUnavailable(
                f"the log did not acknowledge within {self._timeout_seconds:g} s (CREWMEM_FLUSH_SECONDS) "
                f"and nothing was kept (CREWMEM_DURABILITY=log): {why or 'no answer'}"
            ) from why

    async def _persist(self, events: Sequence[Event], failures: list[Unavailable]) -> list[Fate]:
        """Tries until the time is over; `failures` tells the caller what was met."""
        fates: list[Fate] = []
        while len(fates) < len(events):
            try:
                fates += await self._transport.send(events[len(fates) : len(fates) + BATCH_EVENTS])
            except Unavailable as error:
                failures.append(error)
                await asyncio.sleep(backoff(len(failures), random.random()))
        return fates


async def _made(open_transport: TransportFactory) -> tuple[Transport, asyncio.Lock]:
    """The transport and a lock, made on the loop that uses them."""
    return open_transport(), asyncio.Lock()


async def _closed_at_the_end(transport: Transport) -> None:
    """Until the thread stops, which cancels this."""
    try:
        await asyncio.Event().wait()
    finally:
        await transport.close()
