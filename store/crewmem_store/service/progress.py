"""How far a generation is along the log, by partition: what `/metrics`, `crewmem stats` and `crewmem doctor` say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from crewmem_producers.log import EventLog
from starlette.concurrency import run_in_threadpool

from crewmem_store.lag import lag
from crewmem_store.store import StoreReader


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionProgress:
    """One partition. `log_start` is the first offset that the log still has, `log_end` the one that the next record gets.

    `processed` counts ledger rows, `outcomes` sorts them. `lag` counts offsets that the ledger does not have yet; the first
    of their records is `oldest_unprocessed_seconds` old (0 when none waits).
    """

    partition: int
    log_start: int
    log_end: int
    processed: int
    outcomes: Mapping[str, int]
    lag: int
    oldest_unprocessed_seconds: float

    def json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


async def measure(log: EventLog, reader: StoreReader, *, now: datetime) -> list[PartitionProgress]:
    """Every partition, by number. Raises LogUnavailable, StoreUnavailable."""
    first, end = await log.first(), await log.end()
    return [await _measure_one(log, reader, p, first=first[p], end=end[p], now=now) for p in sorted(end)]


async def _measure_one(
    log: EventLog, reader: StoreReader, partition: int, *, first: int, end: int, now: datetime
) -> PartitionProgress:
    last = await run_in_threadpool(reader.last_offset, partition)
    outcomes = await run_in_threadpool(reader.outcomes, partition)
    behind = await lag(log, partition, position=max(last + 1, first), end=end, now=now)
    return PartitionProgress(
        partition=partition,
        log_start=first,
        log_end=end,
        processed=sum(outcomes.values()),
        outcomes=outcomes,
        lag=behind.records,
        oldest_unprocessed_seconds=behind.oldest_seconds,
    )
