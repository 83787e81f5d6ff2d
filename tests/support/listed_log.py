"""A log of one partition in a list, for what only reads."""

from __future__ import annotations

from collections.abc import Sequence

from crewmem_producers.log import LoggedRecord, Position, Record


class ListedLog:
    """As an `EventLog` reads: `records` may have gaps, and may be changed between two reads."""

    partitions = 1

    def __init__(self, records: list[LoggedRecord], *, page: int = 7) -> None:
        self.records = records
        self.page = page
        self.starts_at = 0

    async def start(self) -> None:
        pass

    async def append(self, records: Sequence[Record]) -> list[Position]:
        raise AssertionError("it is only read")

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        assert partition == 0
        there = [record for record in self.records if record.offset >= max(offset, self.starts_at)]
        return there[: min(limit, self.page)]

    async def first(self) -> dict[int, int]:
        return {0: self.starts_at}

    async def end(self) -> dict[int, int]:
        return {0: max((record.offset + 1 for record in self.records), default=self.starts_at)}

    async def close(self) -> None:
        pass
