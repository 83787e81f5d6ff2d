"""Waiting for the view: one look serves all callers, and the deadline holds whatever is waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any, cast

import pytest
from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.freshness import Mark
from crewmem_store.errors import RequestRefused
from crewmem_store.rows import LedgerRow, Outcome
from crewmem_store.service.view_watch import IDS_A_LOOK, ViewWatch
from crewmem_store.store import StoreReader
from support.awaiting import until

HANG_SECONDS = 60


class Reader:
    """A ledger whose last offset the test moves. It counts what it is asked."""

    def __init__(self) -> None:
        self.last, self.looks, self.asked = -1, 0, list[int]()
        self.known: dict[str, str | None] = {}
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None

    def last_offset(self, partition: int) -> int:
        assert self.free.wait(HANG_SECONDS)
        if self.error is not None:
            raise self.error
        self.looks += 1
        return self.last

    def events(self, partition: int, event_ids: Collection[str]) -> list[LedgerRow]:
        self.asked.append(len(event_ids))
        return [
            LedgerRow(
                offset=0, ce_id=id, type=None, scope_key=self.known[id], crc=0, created_at=None, outcome=Outcome.STORED
            )
            for id in event_ids
            if id in self.known
        ]  # fmt: skip


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def watch(reader: Reader) -> ViewWatch:
    return ViewWatch(cast(StoreReader, reader))


async def test_a_thousand_callers_share_their_looks(reader: Reader, watch: ViewWatch) -> None:
    reader.free.clear()
    calls = [asyncio.create_task(watch.reached([Mark(0, offset=n)], seconds=HANG_SECONDS)) for n in range(1000)]
    await asyncio.sleep(0)
    reader.free.set()
    await until(lambda: reader.looks, what="a look")
    assert not any(call.done() for call in calls) and reader.looks < 100
    reader.last = 999
    assert await asyncio.gather(*calls) == [True] * 1000


async def test_a_store_that_hangs_holds_no_caller_beyond_its_time(
    reader: Reader, watch: ViewWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_store.service.view_watch.FIRST_LOOK_SECONDS", 0.01)
    reader.free.clear()
    try:
        async with asyncio.timeout(HANG_SECONDS / 2):
            assert await watch.reached([Mark(0, offset=1)], seconds=0.01) is False
    finally:
        reader.free.set()


async def test_thousands_of_event_ids_are_looked_for_in_bounded_portions_and_not_again_while_nothing_is_written(
    reader: Reader, watch: ViewWatch
) -> None:
    marks = [Mark(0, event_id=f"e{n}") for n in range(2 * IDS_A_LOOK + 1)]
    call = asyncio.create_task(watch.reached(marks, seconds=HANG_SECONDS))
    await until(lambda: reader.looks > 6, what="several looks")
    assert max(reader.asked) <= IDS_A_LOOK and sum(reader.asked) == len(marks)
    reader.known = {f"e{n}": "acme/1" for n in range(len(marks))}
    reader.last = 5
    assert await call is True


async def test_a_caller_with_many_ids_delays_another_by_one_look(reader: Reader, watch: ViewWatch) -> None:
    many = asyncio.create_task(watch.reached([Mark(0, event_id=f"e{n}") for n in range(50 * IDS_A_LOOK)], seconds=HANG_SECONDS))
    await until(lambda: reader.looks, what="a look")
    reader.known = {"mine": "acme/1"}
    before = reader.looks
    assert await watch.reached([Mark(0, event_id="mine")], seconds=HANG_SECONDS) is True
    assert reader.looks - before <= 3 and not many.done()
    many.cancel()


async def test_an_event_counts_only_for_who_may_see_its_session(reader: Reader, watch: ViewWatch) -> None:
    reader.known = {"e": "other/1"}
    assert await watch.reached([Mark(0, event_id="e")], seconds=0, sees=lambda key: key == "acme/1") is False
    assert await watch.reached([Mark(0, event_id="e")], seconds=0, sees=lambda key: key == "other/1") is True


async def test_when_every_caller_has_gone_nothing_looks_any_more(reader: Reader, watch: ViewWatch) -> None:
    call = asyncio.create_task(watch.reached([Mark(0, offset=1)], seconds=HANG_SECONDS))
    await until(lambda: reader.looks, what="a look")
    call.cancel()
    await asyncio.wait([call])
    assert watch._looking is not None
    await asyncio.wait_for(watch._looking, HANG_SECONDS)


async def test_a_store_that_is_away_is_said_to_every_caller(reader: Reader, watch: ViewWatch) -> None:
    reader.error = StoreUnavailable("away")
    calls: list[Any] = [watch.reached([Mark(0, offset=1)], seconds=HANG_SECONDS) for _ in range(3)]
    assert all(isinstance(one, StoreUnavailable) for one in await asyncio.gather(*calls, return_exceptions=True))


async def test_a_service_that_stops_answers_those_who_wait_and_those_who_come(reader: Reader, watch: ViewWatch) -> None:
    call = asyncio.create_task(watch.reached([Mark(0, offset=1)], seconds=HANG_SECONDS))
    await until(lambda: reader.looks, what="a look")
    watch.stop()
    for waiting in (call, watch.reached([Mark(0, offset=1)], seconds=0)):
        with pytest.raises(RequestRefused) as refused:
            await waiting
        assert refused.value.status == 503 and refused.value.headers["Retry-After"]
