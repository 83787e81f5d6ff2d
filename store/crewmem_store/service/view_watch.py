"""Waiting until a generation's view holds what callers wait for: one look for all of them, on one thread."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from crewmem_producers.errors import CrewmemError
from crewmem_producers.freshness import Mark
from starlette.concurrency import run_in_threadpool

from crewmem_store.errors import RequestRefused
from crewmem_store.store import StoreReader

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.2
FIRST_LOOK_SECONDS = 2.0
"""How much longer than asked a caller waits for its first look, since a store may take that long to answer."""
IDS_A_LOOK = 1_000
"""Event ids that one look asks the ledger for, of all callers together; the others have the next turn."""

Sees = Callable[[str | None], bool]
"""Whether a caller may know of an event whose ledger row has this record key."""

_Id = tuple[int, str]
"""A partition and an event id."""


def everything(scope_key: str | None) -> bool:
    """Who may know of every event."""
    del scope_key
    return True


@dataclass(eq=False, slots=True)
class _Waiter:
    """A caller. `offsets` are the largest that it waits for, by partition; `ids` are the event ids that were not found yet,
    each with the partition's last offset when it was looked for."""

    offsets: Mapping[int, int]
    ids: dict[_Id, int | None]
    sees: Sees
    looked: asyncio.Future[None]
    reached: asyncio.Future[None]

    def partitions(self) -> set[int]:
        return {*self.offsets, *(partition for partition, _ in self.ids)}


@dataclass(slots=True)
class _Found:
    """What a look found. `ids` are those that were looked for, each with the record keys of its ledger rows."""

    last: dict[int, int] = field(default_factory=dict)
    ids: dict[_Id, list[str | None]] = field(default_factory=dict)


class ViewWatch:
    """Looks at one generation while callers wait for it. Belongs to one event loop."""

    def __init__(self, reader: StoreReader) -> None:
        self.reader = reader
        self._waiters: dict[_Waiter, None] = {}
        self._came = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False

    async def reached(self, marks: Sequence[Mark], *, seconds: float, sees: Sees = everything) -> bool:
        """Return True once the view holds every mark, False when it does not after so many seconds. Look once at least.

        An event id counts only where `sees` says yes to the record key of its ledger row. Raise StoreUnavailable, and
        RequestRefused (503) when the service stops meanwhile.
        """
        self._raise_if_stopped()
        waiter = _waiter(marks, sees)
        self._waiters[waiter] = None
        self._came.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_while_waited_for())
        try:
            await asyncio.wait([waiter.reached], timeout=seconds)
            if not waiter.looked.done():
                await asyncio.wait([waiter.looked], timeout=FIRST_LOOK_SECONDS)
        finally:
            self._waiters.pop(waiter, None)
            waiter.looked.cancel()
        if not waiter.reached.done():
            return False
        waiter.reached.result()
        return True

    def stop(self) -> None:
        """Answer every caller that waits, and those that come later, with 503: the service stops."""
        self._stopped = True
        for waiter in list(self._waiters):
            _fail(waiter, _stopping())

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise _stopping()

    async def _look_while_waited_for(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self._waiters:
            pause = FIRST_PAUSE_SECONDS if self._came.is_set() else min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            self._came.clear()
            await self._look_once(list(self._waiters))
            await asyncio.sleep(FIRST_PAUSE_SECONDS)  # a flood of callers gets a look each 5 ms, not one each
            try:
                async with asyncio.timeout(pause):
                    await self._came.wait()
            except TimeoutError:
                continue

    async def _look_once(self, asked: list[_Waiter]) -> None:
        partitions = set[int]().union(*(waiter.partitions() for waiter in asked))
        try:
            found = await run_in_threadpool(_look, self.reader, partitions, [waiter.ids for waiter in asked])
        except CrewmemError as error:
            for waiter in asked:
                _fail(waiter, error)
            return
        for waiter in asked:
            self._tell(waiter, found)

    def _tell(self, waiter: _Waiter, found: _Found) -> None:
        for place in [place for place in waiter.ids if place in found.ids]:
            if any(waiter.sees(scope_key) for scope_key in found.ids[place]):
                del waiter.ids[place]
            else:
                waiter.ids[place] = found.last[place[0]]
            if waiter in self._waiters:
                self._waiters[waiter] = self._waiters.pop(waiter)  # whose ids were looked for is last the next time
        if not waiter.looked.done():
            waiter.looked.set_result(None)
        there = all(found.last[partition] >= offset for partition, offset in waiter.offsets.items())
        if there and not waiter.ids and not waiter.reached.done():
            waiter.reached.set_result(None)


def _waiter(marks: Iterable[Mark], sees: Sees) -> _Waiter:
    loop, offsets, ids = asyncio.get_running_loop(), dict[int, int](), dict[_Id, int | None]()
    for mark in marks:
        if mark.event_id is not None:
            ids[(mark.partition, mark.event_id)] = None
        elif mark.offset is not None:
            offsets[mark.partition] = max(mark.offset, offsets.get(mark.partition, -1))
    return _Waiter(offsets, ids, sees, loop.create_future(), loop.create_future())


def _look(reader: StoreReader, partitions: Iterable[int], wanted: Sequence[Mapping[_Id, int | None]]) -> _Found:
    """Read the last offsets before the event ids: what is written in between is found now, or at the next look."""
    found = _Found(last={partition: reader.last_offset(partition) for partition in partitions})
    due = (place for ids in wanted for place, at in ids.items() if at != found.last[place[0]])
    by_partition: dict[int, set[str]] = defaultdict(set)
    for partition, event_id in islice(due, IDS_A_LOOK):
        by_partition[partition].add(event_id)
    for partition, event_ids in by_partition.items():
        found.ids |= {(partition, event_id): [] for event_id in event_ids}
        for row in reader.events(partition, event_ids):
            found.ids[(partition, row.ce_id or "")].append(row.scope_key)
    return found


def _fail(waiter: _Waiter, error: CrewmemError) -> None:
    for future in (waiter.reached, waiter.looked):
        if not future.done():
            future.set_exception(error)
            future.exception()  # marks it as seen: the caller may have gone


def _stopping() -> RequestRefused:
    return RequestRefused(503, "unavailable", "the service stops; ask again", headers={"Retry-After": "1"})
