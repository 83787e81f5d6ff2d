"""The rules that a replay decides everything anew with: the newest that were applied to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from crewmem_producers.codec import decode
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import RulesApplied
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.log_reading import pages
from crewmem_store.rows import LedgerRow
from crewmem_store.store import StoreReader

from crewmem_consumers.errors import RuleError
from crewmem_consumers.rules import RuleSet

_Applied = tuple[datetime, str]
"""When, and the text."""


async def newest_rules(
    log: EventLog,
    *,
    first: Mapping[int, int],
    ends: Mapping[int, int],
    before: Mapping[int, LedgerRow] = MappingProxyType({}),
) -> str | None:
    """The text of the rule file that was applied last; None when none was. Raises LogUnavailable.

    The log is read from `first` on; `before` has, by partition, the ledger's row of the rules that were applied before. In
    each partition the log's order says which are the last. Rules are applied to every partition, so that these are the same,
    but after an `apply` that was interrupted: then the time does.
    """
    newest = [found for partition in ends if (found := await _last(log, partition, first, ends, before)) is not None]
    return max(newest)[1] if newest else None


async def rules_by_partition(reader: StoreReader, partitions: Iterable[int]) -> dict[int, LedgerRow]:
    """By partition the ledger's row of the rules that were applied last; none where there is no such row. Raises
    StoreUnavailable."""
    found = {partition: await asyncio.to_thread(reader.rules, partition) for partition in partitions}
    return {partition: row for partition, row in found.items() if row is not None}


async def _last(
    log: EventLog, partition: int, first: Mapping[int, int], ends: Mapping[int, int], before: Mapping[int, LedgerRow]
) -> _Applied | None:
    row, last = before.get(partition), None
    if row is not None and row.created_at is not None and row.detail is not None:
        last = row.created_at, row.detail
    async for records in pages(log, partition, start=first[partition], end=ends[partition]):
        last = next(filter(None, map(_rules_in, reversed(records))), last)
    return last


def _rules_in(record: LoggedRecord) -> _Applied | None:
    """When and which rules the record applies; None for every other record, and for rules that are refused."""
    if record.header("ce_type") != RulesApplied.type:
        return None
    try:
        event = decode(record)
        assert isinstance(event.body, RulesApplied)
        RuleSet.parse(event.body.rules, applied=True)
    except (InvalidEvent, RuleError):
        return None  # the pipeline makes a dead letter of it, and says so
    return event.time, event.body.rules
