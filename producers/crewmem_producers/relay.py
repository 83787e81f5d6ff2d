"""The relay: takes events from the outbox in order, sends them, and takes out what the log has acknowledged.

One process relays an outbox; the others look every half second whether its lock is free. What cannot be sent now is tried
again with a growing pause; a refused caller (a wrong key or setting) keeps every event and is tried again at long intervals; an
event that is refused for ever becomes a dead letter of the outbox and blocks nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version

from crewmem_producers.errors import (
    CrewmemError,
    InvalidEvent,
    MissingExtra,
    OutboxBroken,
    ServiceBusy,
    SettingsError,
    TransportRefused,
    Unavailable,
)
from crewmem_producers.events import Event
from crewmem_producers.limits import BATCH_BYTES, BATCH_EVENTS
from crewmem_producers.outbox import Outbox
from crewmem_producers.outbox_rows import Waiting
from crewmem_producers.relay_lock import RelayLock
from crewmem_producers.transport import Fate, Refused, RelayReport, Transport

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.1
"""How soon events of other processes are seen; those of this one wake the relay."""
TAKEOVER_SECONDS = 0.5
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
REFUSED_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
HELD_BACK_SECONDS = 600.0
"""How often it is said that the service takes events no faster."""
TIDY_SECONDS = 1.0
REPORT_SECONDS = 1.0
IDLE_REPORT_SECONDS = 30.0


def backoff(failures: int, chance: float) -> float:
    """Seconds until the next try after so many failures in a row; `chance` in [0, 1) spreads many relays."""
    return min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10)) * (0.5 + chance / 2)


class Relay:
    """Lives on one event loop; `run` it there. `wake` is called on that loop when this process has appended."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        transport: Transport,
        lock: RelayLock,
        tenant: str,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox, self._transport, self._lock, self._tenant = outbox, transport, lock, tenant
        self._clock, self._chance = clock, chance
        self._woken, self._ending = asyncio.Event(), asyncio.Event()
        self._failures = 0
        self._error: str | None = None
        self._delivered: float | None = float("-inf")  # the process before may have been killed before it tidied
        self._reported = -IDLE_REPORT_SECONDS
        self._held_back_said = float("-inf")

    def wake(self) -> None:
        """There is something to send."""
        self._woken.set()

    def stop(self) -> None:
        """Lets `run` end after the step that it is in: a batch that is cut off would be sent again."""
        self._ending.set()
        self._woken.set()

    async def run(self) -> None:
        """Relays until stopped or cancelled, then lets go of connections and lock."""
        try:
            while not self._ending.is_set():
                await self._pause(await self.step())
        finally:
            await self._transport.close()
            self._outbox.close()
            self._lock.release()

    async def step(self) -> float:
        """Sends at most one batch. Seconds until the next step is due; never raises."""
        self._woken.clear()
        try:
            if not self._lock.acquire():
                return TAKEOVER_SECONDS
            return await self._relay()
        except ServiceBusy as error:
            return self._held_back(error)
        except Unavailable as error:
            return self._failed(error)
        except (TransportRefused, SettingsError, MissingExtra) as error:
            return self._refused(error)
        except OutboxBroken as error:
            return self._broken(error)
        except Exception as error:  # a fault in a transport must not end the relay in silence
            return self._failed(error)

    async def _pause(self, seconds: float) -> None:
        early = self._ending if self._failures else self._woken  # a new event is no reason to ask again sooner
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(early.wait(), seconds)

    async def _relay(self) -> float:
        batch = self._outbox.batch(max_events=BATCH_EVENTS, max_bytes=BATCH_BYTES // 2)
        await self._report(REPORT_SECONDS if batch else IDLE_REPORT_SECONDS, leaving=len(batch))
        if not batch:
            self._tidy()
            return IDLE_SECONDS
        fates = await self._send(batch)
        self._outbox.settle(zip(batch, fates, strict=True))
        self._tell_refused(batch, fates)
        self._recovered()
        return 0.0

    async def _send(self, batch: Sequence[Waiting]) -> list[Fate]:
        events: list[Event] = []
        unreadable: dict[int, Fate] = {}
        for row in batch:
            try:
                events.append(row.event(tenant=self._tenant))
            except InvalidEvent as error:
                unreadable[row.seq] = Refused(f"{error.reason}: {error}")
        sent = iter(await self._transport.send(events) if events else [])
        return [unreadable[row.seq] if row.seq in unreadable else next(sent) for row in batch]

    async def _report(self, every_seconds: float, *, leaving: int) -> None:
        """Reports what waits behind the batch that is leaving, at most that often. If that fails, the batch is sent anyway."""
        if self._clock() - self._reported < every_seconds:
            return
        self._reported = self._clock()
        status = self._outbox.status()
        depth = max(0, status.depth - leaving)
        report = RelayReport(depth, (status.oldest_seconds or 0.0) if depth else 0.0, version("crewmem"))
        try:
            await self._transport.report(report)
        except CrewmemError as error:
            log.warning("the state of the outbox could not be reported: %s", error)

    def _tidy(self) -> None:
        """Tidies the outbox once, when a burst of events is over: tidying syncs the disk, which would slow down publishing."""
        if self._delivered is not None and self._clock() - self._delivered >= TIDY_SECONDS and self._outbox.tidy():
            self._delivered = None

    def _tell_refused(self, batch: Sequence[Waiting], fates: Sequence[Fate]) -> None:
        for row, fate in zip(batch, fates, strict=True):
            if isinstance(fate, Refused):
                log.error("event %s is refused for ever (%s): now a dead letter of %s", row.id, fate.reason, self._outbox.path)

    def _recovered(self) -> None:
        if self._error is not None:
            log.info("events are sent again")
        self._failures, self._error, self._delivered = 0, None, self._clock()

    def _failed(self, error: Exception) -> float:
        level = logging.WARNING if isinstance(error, CrewmemError) else logging.ERROR
        self._note(error, level, "it is kept and sent later")
        return self._pause_after(error)

    def _held_back(self, error: ServiceBusy) -> float:
        """No outage: the service takes the rest once its consumers have caught up. While they are the slower ones, that is
        after every few batches, so it is seldom said."""
        self._failures += 1
        if self._clock() - self._held_back_said >= HELD_BACK_SECONDS:
            self._held_back_said = self._clock()
            log.info("what waits in the outbox %s is sent as fast as it is taken: %s", self._outbox.path, error)
        return self._pause_after(error)

    def _pause_after(self, error: Exception) -> float:
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        return max(backoff(self._failures, self._chance()), min(asked, LONGEST_RETRY_AFTER_SECONDS))

    def _refused(self, error: CrewmemError) -> float:
        self._note(error, logging.ERROR, f"it is kept and tried again every {REFUSED_SECONDS:.0f} s", caller_refused=True)
        return REFUSED_SECONDS

    def _broken(self, error: OutboxBroken) -> float:
        self._failures += 1
        if self._failures == 1:
            log.error("the relay stands still: %s", error)
        self._error = str(error)
        return backoff(self._failures, self._chance())

    def _note(self, error: Exception, level: int, what_now: str, *, caller_refused: bool = False) -> None:
        """One line for a row of the same failures; the last one can be read from the outbox by every process."""
        self._failures += 1
        said = str(error) or type(error).__name__
        if said == self._error:
            return
        self._error = said
        fault = None if isinstance(error, CrewmemError) else error
        log.log(
            level, "what waits in the outbox %s cannot be sent%s: %s; %s",
            self._outbox.path, " for a fault of the relay" if fault else "", said, what_now, exc_info=fault,
        )  # fmt: skip
        try:
            self._outbox.note_error(said, caller_refused=caller_refused)
        except OutboxBroken as broken:
            log.error("the relay cannot write its state: %s", broken)
