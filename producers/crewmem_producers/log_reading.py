"""Reading one partition of the log: page by page, or the record at one position."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crewmem_producers.log import EventLog, LoggedRecord, Position


async def pages(log: EventLog, partition: int, *, start: int = 0, end: int | None = None) -> AsyncIterator[list[LoggedRecord]]:
    """The records from offset `start` to before `end`, in order, as many at a time as the log gives, at least one. Without
    `end` to where the partition ends now. Raises LogUnavailable."""
    if end is None:
        end = (await log.end()).get(partition, 0)
    while start < end and (page := await log.read(partition, start)):
        if records := [record for record in page if record.offset < end]:
            yield records
        start = page[-1].offset + 1


async def record_at(log: EventLog, position: Position) -> LoggedRecord | None:
    """The record at exactly that position; None where the log has none, or none any more. Raises LogUnavailable."""
    found = await log.read(position.partition, position.offset, limit=1)
    return found[0] if found and found[0].position == position else None
