"""A tenant's share of undecided events: what is refused is counted, on a clock of the test."""

from __future__ import annotations

from itertools import count

import pytest
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.log import Position
from crewmem_store.errors import RequestRefused
from crewmem_store.service.admission import FIRST_RATE, Admission, Piece, Progress, work_of

SECONDS = 10.0


class Log:
    """One partition, and consumers that the test moves."""

    def __init__(self) -> None:
        self.now, self.decided, self.offsets = 0.0, -1, count()
        self.logged = -1
        self.error: Exception | None = None
        self.admission = Admission(seconds=SECONDS, look=self.look, monotonic=lambda: self.now)

    async def look(self) -> Progress:
        if self.error is not None:
            raise self.error
        return Progress({0: self.decided}, {0: self.logged})

    async def send(self, tenant: str, events: int, *, work: int = 1, always: bool = False) -> None:
        pieces = [Piece(0, work)] * events
        reservation = await self.admission.reserve(tenant, pieces, always=always)
        reservation.appended([self.append() for _ in pieces])

    def append(self) -> Position:
        self.logged = next(self.offsets)
        return Position(0, self.logged)

    async def consume(self, events: int, *, seconds: float) -> None:
        self.now += seconds
        self.decided = min(self.decided + events, self.logged)
        await self.admission.look_now()

    async def flood(self, tenant: str, batches: int) -> tuple[int, int]:
        """How many of so many batches are taken, and the last Retry-After."""
        taken, wait = 0, 0
        for _ in range(batches):
            try:
                await self.send(tenant, 500)
                taken += 1
            except RequestRefused as error:
                assert (error.status, error.code) == (429, "busy")
                wait = int(error.headers["Retry-After"])
        return taken, wait


@pytest.fixture
async def log() -> Log:
    return Log()


async def test_of_forty_batches_of_a_tenant_its_share_goes_on_and_anothers_event_is_taken(log: Log) -> None:
    taken, wait = await log.flood("abuser", 40)
    assert 1 <= taken <= 2 and wait >= 1
    for _ in range(20):
        await log.send("other", 1)


async def test_the_share_grows_with_the_pace_of_the_consumers(log: Log) -> None:
    await log.send("abuser", 500)
    for _ in range(20):  # 500 a second
        await log.send("abuser", 500, always=True)
        await log.consume(250, seconds=0.5)
    undecided = log.logged - log.decided
    taken, _ = await log.flood("abuser", 100)
    assert SECONDS * 500 - 500 <= undecided + 500 * taken <= SECONDS * 500 + 1000


async def test_retry_after_is_when_the_consumers_will_have_caught_up(log: Log) -> None:
    await log.send("abuser", 500)
    for _ in range(8):
        await log.send("abuser", 500, always=True)
    for _ in range(20):  # 100 a second; 500 + 4000 - 1000 are left
        await log.consume(50, seconds=0.5)
    _, wait = await log.flood("abuser", 1)
    assert wait == 25  # 3500 at 100 a second are 35 s, of which 10 are its share
    await log.consume(100 * wait, seconds=wait)
    assert (await log.flood("abuser", 1))[0] == 1


async def test_a_tenant_alone_gets_everything_through_and_the_consumers_never_run_dry(log: Log) -> None:
    left, idle, steps = 20_000, 0, 0
    while left or log.decided < log.logged:
        steps += 1
        assert steps < 1_000
        while left:
            try:
                await log.send("alone", min(500, left))
            except RequestRefused:
                break
            left -= min(500, left)
        idle += log.logged - log.decided < 100 and left > 0
        await log.consume(100, seconds=1)
    assert log.decided == 19_999 and idle == 0
    assert steps <= 20_000 / 100 + 1


async def test_what_could_not_be_appended_is_counted_no_longer(log: Log) -> None:
    for _ in range(10):
        reservation = await log.admission.reserve("acme", [Piece(0, 1)] * 500)
        reservation.failed()
    assert (await log.flood("acme", 1))[0] == 1


async def test_calls_in_flight_count_before_the_log_has_them(log: Log) -> None:
    await log.admission.reserve("acme", [Piece(0, 1)] * int(SECONDS * FIRST_RATE + 1))
    with pytest.raises(RequestRefused):
        await log.admission.reserve("acme", [Piece(0, 1)])


async def test_large_events_are_more_work(log: Log) -> None:
    assert work_of(0) == 1 and work_of(4096 * 1000) == 1001
    await log.send("acme", 1, work=work_of(4096 * 1000))
    assert (await log.flood("acme", 1))[0] == 0


async def test_partitions_are_counted_apart(log: Log) -> None:
    await log.flood("acme", 5)
    await log.admission.reserve("acme", [Piece(1, 1)])


async def test_what_other_processes_appended_counts_for_the_tenants_seen_here(log: Log) -> None:
    """Calls of a tenant reach all processes of the service alike: of its 5,600 undecided events this one took 700."""
    for _ in range(700):
        await log.send("abuser", 1, always=True)
        for _ in range(7):
            log.append()
    for _ in range(10):
        await log.consume(50, seconds=0.5)
    _, wait = await log.flood("abuser", 1)
    assert wait > 25
    for _ in range(20):
        await log.send("other", 1)


async def test_a_log_that_cannot_be_looked_at_stops_no_tenant_below_its_share(log: Log) -> None:
    log.error = LogUnavailable("away")
    assert (await log.flood("acme", 5))[0] == 1
    await log.send("other", 1)


async def test_a_consumer_that_stood_still_does_not_count_as_slow_for_long(log: Log) -> None:
    await log.send("acme", 500)
    for _ in range(4):
        await log.send("acme", 500, always=True)
    await log.consume(0, seconds=3600)
    for _ in range(40):
        await log.consume(50, seconds=0.5)
    _, wait = await log.flood("acme", 1)
    assert wait == 0 or wait <= 10
