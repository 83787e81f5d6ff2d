"""What a token, or the end of the log as it is now, stands for, and waiting until the view holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from crewmem_producers.freshness import LATEST, Mark, parse_token
from crewmem_producers.log import EventLog

from crewmem_store.errors import RequestRefused
from crewmem_store.service.shared_call import SharedCall
from crewmem_store.service.view_watch import Sees, ViewWatch, everything


class LogEnds:
    """Where the log ends now, read once for all callers that ask at the same time. Belongs to one event loop."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._read = SharedCall(self._first_and_end)

    async def of(self, partitions: Collection[int]) -> list[Mark]:
        """Return the last record of each of these partitions that has any. Raise LogUnavailable."""
        first, end = await self._read()
        return [Mark(p, offset=end[p] - 1) for p in sorted(partitions) if end[p] > first[p]]

    async def now(self) -> dict[int, int]:
        """Return the offset that the next record of each partition gets. Raise LogUnavailable."""
        _, end = await self._read()
        return end

    async def _first_and_end(self) -> tuple[dict[int, int], dict[int, int]]:
        return await self._log.first(), await self._log.end()


async def marks(after: str, *, ends: LogEnds, log_partitions: int, partitions: Collection[int]) -> list[Mark]:
    """Return what `after` waits for; `latest` is the end of these partitions. Raise RequestRefused (400) for what is no
    token."""
    if after == LATEST:
        return await ends.of(partitions)
    try:
        found = parse_token(after)
    except ValueError as error:
        raise RequestRefused(400, "invalid_request", f"after: {error}") from error
    if any(mark.partition >= log_partitions for mark in found):
        raise RequestRefused(400, "invalid_request", "after: this token is not of this log")
    return found


def countdown(seconds: float) -> Callable[[], float]:
    """What is left of so many seconds from now on, each time it is asked; 0 at the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    return lambda: max(deadline - loop.time(), 0.0)


async def wait(watch: ViewWatch, waited: Sequence[Mark], *, seconds: float, sees: Sees = everything) -> bool:
    """Return True once the view holds every mark, False when it does not after that many seconds. Look once at least.

    An event id counts only where `sees` says yes to its session's record key. Raise StoreUnavailable, and RequestRefused
    (503) when the service stops meanwhile.
    """
    return await watch.reached(waited, seconds=seconds, sees=sees) if waited else True
