"""The rules that a replay decides everything anew with: the newest that were applied to the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from crewmem_producers.codec import decode
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import RulesApplied
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.log_reading import pages
from crewmem_store.rows import LedgerRow

from crewmem_consumers.errors import RuleError
from crewmem_consumers.rules import RuleSet


async def newest_rules(
    log: EventLog, *, first: Mapping[int, int], ends: Mapping[int, int], before: Iterable[LedgerRow] = ()
) -> str | None:
    """The text of the rule file that was applied last, over all partitions; None when none was. Raises LogUnavailable.

    The log is read from `first` on; `before` are the ledger's rows of rules that were applied before. Rules are applied to
    every partition, so the newest is on each of them, but for an `apply` that was interrupted.
    """
    known = [(row.created_at, row.detail) for row in before if row.created_at is not None and row.detail is not None]
    newest = max(known, default=None)
    for partition, end in ends.items():
        async for records in pages(log, partition, start=first[partition], end=end):
            for found in map(_rules_in, records):
                if found is not None and (newest is None or found[0] >= newest[0]):
                    newest = found
    return newest[1] if newest else None


def _rules_in(record: LoggedRecord) -> tuple[datetime, str] | None:
    """When and which rules the record applies; None for every other record, and for rules that are refused."""
    if record.header("ce_type") != RulesApplied.type:
        return None
    try:
        event = decode(record)
        assert isinstance(event.body, RulesApplied)
        RuleSet.parse(event.body.rules)
    except (InvalidEvent, RuleError):
        return None  # the pipeline makes a dead letter of it, and says so
    return event.time, event.body.rules
