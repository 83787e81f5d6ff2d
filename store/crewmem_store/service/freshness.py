"""Waiting until the view holds what a token, or the end of the log as it is now, stands for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from crewmem_producers.freshness import LATEST, Mark, parse_token
from crewmem_producers.log import EventLog
from starlette.concurrency import run_in_threadpool

from crewmem_store.errors import RequestRefused
from crewmem_store.store import StoreReader

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.2


async def marks(after: str, *, log: EventLog, partitions: Collection[int]) -> list[Mark]:
    """What `after` waits for; `latest` is the end of these partitions. Raises RequestRefused (400) for what is no token."""
    if after == LATEST:
        return await ends(log, partitions)
    try:
        found = parse_token(after)
    except ValueError as error:
        raise RequestRefused(400, "invalid_request", f"after: {error}") from error
    if any(mark.partition >= log.partitions for mark in found):
        raise RequestRefused(400, "invalid_request", "after: this token is not of this log")
    return found


async def ends(log: EventLog, partitions: Collection[int]) -> list[Mark]:
    """The last record of each of these partitions that has any."""
    first, end = await log.first(), await log.end()
    return [Mark(p, offset=end[p] - 1) for p in sorted(partitions) if end[p] > first[p]]


def countdown(seconds: float) -> Callable[[], float]:
    """What is left of so many seconds from now on, each time it is asked; 0 at the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    return lambda: max(deadline - loop.time(), 0.0)


async def wait(reader: StoreReader, waited: Sequence[Mark], *, seconds: float) -> bool:
    """True once the view holds every mark; False when it does not after that many seconds. Looks once at least."""
    left = countdown(seconds)
    pause = FIRST_PAUSE_SECONDS
    missing = list(waited)
    while True:
        missing = await run_in_threadpool(_missing, reader, missing)
        remaining = left()
        if not missing or not remaining:
            return not missing
        await asyncio.sleep(min(pause, remaining))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def _missing(reader: StoreReader, waited: Sequence[Mark]) -> list[Mark]:
    last = {partition: reader.last_offset(partition) for partition in {mark.partition for mark in waited}}
    return [mark for mark in waited if not _reached(reader, mark, last[mark.partition])]


def _reached(reader: StoreReader, mark: Mark, last: int) -> bool:
    if mark.event_id is not None:
        return reader.has_event(mark.partition, mark.event_id)
    return mark.offset is not None and last >= mark.offset
