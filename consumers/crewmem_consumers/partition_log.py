"""One partition of the log, as far as finding the place to read from needs it."""

from __future__ import annotations

import asyncio

from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import record_at

LOOKS = 5
LOOK_SECONDS = 1.0


class PartitionLog:
    """`look_seconds` is how long to wait before looking once more for a record that is not there."""

    def __init__(self, log: EventLog, partition: int, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._log = log
        self._partition = partition
        self._look_seconds = look_seconds

    async def first(self) -> int:
        """The offset of the first record that is still there. Raises LogUnavailable."""
        return (await self._log.first())[self._partition]

    async def record_at(self, offset: int) -> LoggedRecord | None:
        """The record at exactly that offset. None only after several looks: a broker that has just become the leader may
        for a moment not give what it has. Raises LogUnavailable."""
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(self._look_seconds)
            found = await record_at(self._log, Position(self._partition, offset))
            if found is not None:
                return found
        return None
