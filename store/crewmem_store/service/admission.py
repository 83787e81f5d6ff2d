"""How much undecided work of one tenant may lie on a partition of the log.

A partition is processed in the order of the log, so what one tenant puts there is what every other one waits for. Fairness is
therefore admission: past its share a tenant is asked to send later (429), and its relays keep the rest in their outboxes.

A share is the work that consumers do in so many seconds, measured as they do it, and never less than about a batch. What a
tenant has undecided is what this process appended for it, scaled up by what else lies undecided on the partition: with several
processes of the service, calls of a tenant reach all of them about alike. Records that producers write to Kafka themselves
count for no tenant below its batch.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crewmem_producers.errors import CrewmemError
from crewmem_producers.log import Position

from crewmem_store.errors import RequestRefused
from crewmem_store.service.shared_call import SharedCall

LEAST_WORK = 100
"""What a tenant may always have undecided on a partition: one call more is taken below it, however slow consumers are."""
WORK_BYTES = 4096
"""An event is one piece of work, and one more for each so many bytes of its JSON."""
FIRST_RATE = 20.0
"""Pieces of work a second, until consumers were seen at work: about what one core does with all-MiniLM-L6-v2."""
FIRST_WAIT_SECONDS = 2.0
"""The longest Retry-After until then."""
LOOK_EVERY_SECONDS = 0.5
LONGEST_SAMPLE_SECONDS = 30.0
_MEMORY_SECONDS = 10.0
"""How far back the rate of consumers is remembered, about."""
LONGEST_RETRY_SECONDS = 60
_ROUNDING = 1e-9


class Progress(NamedTuple):
    """The last offset that is decided, and the last one of the log, by partition."""

    decided: Mapping[int, int]
    logged: Mapping[int, int]


class Piece(NamedTuple):
    """An event that is to be appended: where, and how much work it is."""

    partition: int
    work: int


def work_of(size: int) -> int:
    """The work of an event of so many bytes."""
    return 1 + size // WORK_BYTES


@dataclass(slots=True)
class _Lane:
    """One partition: what this process appended there and is not decided yet."""

    entries: deque[tuple[int, str, int]] = field(default_factory=deque)
    work: Counter[str] = field(default_factory=Counter)
    foreign: int = 0
    """Undecided records of others."""
    rate: float = FIRST_RATE
    decided: int | None = None
    """The last decided offset when work was last seen done; None while the partition is idle."""
    since: float = 0.0
    measured: bool = False

    @property
    def longest_wait(self) -> float:
        """The longest time to ask a caller to wait: a rate that is only a guess is soon known."""
        return LONGEST_RETRY_SECONDS if self.measured else FIRST_WAIT_SECONDS

    def seconds(self, tenant: str) -> float:
        """How long consumers need for what the tenant has undecided here."""
        own = sum(self.work.values())
        return self.work[tenant] * (1 + self.foreign / own if own else 1) / self.rate

    def add(self, tenant: str, work: int) -> None:
        self.work[tenant] += work
        if not self.work[tenant]:
            del self.work[tenant]

    def see(self, decided: int, logged: int, now: float) -> None:
        """Take in how far consumers are."""
        done = self._settle(decided)
        self.foreign = max(logged - decided - len(self.entries), 0)
        if self.decided is not None and decided > self.decided and now > self.since:
            done += max(decided - self.decided - done.count, 0)
            self._measure(done.work / min(now - self.since, LONGEST_SAMPLE_SECONDS), now - self.since)
        if self.decided is None or decided > self.decided:
            self.decided, self.since = decided, now
        if logged <= decided:
            self.decided = None  # idle from here on: the time until the next record says nothing of the rate

    def _settle(self, decided: int) -> _Done:
        done = _Done()
        while self.entries and self.entries[0][0] <= decided:
            _, tenant, work = self.entries.popleft()
            self.add(tenant, -work)
            done = _Done(done.count + 1, done.work + work)
        return done

    def _measure(self, rate: float, seconds: float) -> None:
        weight = 1 - math.exp(-seconds / _MEMORY_SECONDS)
        self.rate = max(self.rate + weight * (rate - self.rate) if self.measured else rate, 1.0)
        self.measured = True


@dataclass(frozen=True, slots=True)
class _Done:
    """Own records that were decided, and their work. What others' records are counted as is added to the work."""

    count: int = 0
    work: int = 0

    def __add__(self, others: int) -> _Done:
        return _Done(self.count, self.work + others)


class Reservation:
    """What a call appends, counted from the start. `appended` says that the log has it; `failed`, that it never will."""

    def __init__(self, lanes: Sequence[_Lane], tenant: str, pieces: Sequence[Piece]) -> None:
        self._lanes, self._tenant, self._pieces = lanes, tenant, pieces
        self._count(1)

    def appended(self, positions: Sequence[Position]) -> None:
        for lane, piece, position in zip(self._lanes, self._pieces, positions, strict=True):
            lane.entries.append((position.offset, self._tenant, piece.work))

    def failed(self) -> None:
        self._count(-1)

    def _count(self, sign: int) -> None:
        for lane, piece in zip(self._lanes, self._pieces, strict=True):
            lane.add(self._tenant, sign * piece.work)


class Admission:
    """Belongs to one event loop. `seconds` of work on each partition are a tenant's share; `look` says how far consumers are,
    and may raise CrewmemError: then what was known before decides."""

    def __init__(
        self, *, seconds: float, look: Callable[[], Awaitable[Progress]], monotonic: Callable[[], float]
    ) -> None:  # fmt: skip
        self._seconds = seconds
        self._look = SharedCall(look)
        self._monotonic = monotonic
        self._lanes: dict[int, _Lane] = {}
        self._following: asyncio.Task[None] | None = None

    async def reserve(self, tenant: str, pieces: Sequence[Piece], *, always: bool = False) -> Reservation:
        """Count what is to be appended. Raise RequestRefused (429 busy, with Retry-After) when the tenant has its share
        undecided on one of the partitions, unless `always`."""
        lanes = [self._lanes.setdefault(piece.partition, _Lane()) for piece in pieces]
        if not always and self._seconds_over(tenant, lanes) > _ROUNDING:
            await self.look_now()
            if (over := self._seconds_over(tenant, lanes)) > _ROUNDING:
                raise _busy(over)
        reservation = Reservation(lanes, tenant, pieces)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        return reservation

    async def look_now(self) -> None:
        """Take in how far consumers are now."""
        try:
            progress = await self._look()
        except CrewmemError:
            return
        now = self._monotonic()
        for partition, lane in self._lanes.items():
            lane.see(progress.decided.get(partition, -1), progress.logged.get(partition, -1), now)

    def _seconds_over(self, tenant: str, lanes: Sequence[_Lane]) -> float:
        """How long until consumers have done enough of the tenant's work; 0 or less: they have."""
        own = [lane for lane in lanes if lane.work[tenant] >= LEAST_WORK]
        return max((min(lane.seconds(tenant) - self._seconds, lane.longest_wait) for lane in own), default=-1.0)

    async def _follow(self) -> None:
        """Look how far consumers are while something that was appended here is undecided."""
        while any(lane.work for lane in self._lanes.values()):
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self.look_now()


def _busy(over: float) -> RequestRefused:
    wait = min(max(1, math.ceil(over)), LONGEST_RETRY_SECONDS)
    # The message is always the same, so that a relay logs it once.
    message = "this tenant has as many undecided events as it may have; send the rest once consumers have caught up"
    return RequestRefused(429, "busy", message, headers={"Retry-After": str(wait)})
