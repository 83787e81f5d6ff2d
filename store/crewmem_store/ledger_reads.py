"""Questions to one ledger table, for its owner and for readers alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from crewmem_producers.events import FORGETS, LATER_FACTS, RulesApplied

from crewmem_store import lance_rows
from crewmem_store.lance_filters import EVERY_ROW, all_of, any_of, equal, from_offset, of_offsets, one_of
from crewmem_store.lance_rows import LEDGER, ledger_rows
from crewmem_store.rows import LedgerRow, Outcome
from crewmem_store.store import Judged, Tally

Read = Callable[[tuple[str, ...], str], pa.Table]
"""Columns of the rows that match a condition."""

SEGMENT_OFFSETS = 262_144
"""Offsets of one ledger table: the cost of a merge grows with the table."""

SUMS_SCHEMA = pa.schema(
    [
        pa.field("segment", pa.int64(), nullable=False), pa.field("rows", pa.int64()),
        pa.field("last_offset", pa.int64()), pa.field("first_ce_id", pa.string()),
        pa.field("last_ce_id", pa.string()), pa.field("outcomes", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What a closed ledger table adds up to. An event id outside `first_ce_id` to `last_ce_id` is not in it."""

    segment: int
    rows: int
    last_offset: int
    first_ce_id: str
    last_ce_id: str
    outcomes: dict[str, int]

    def may_hold(self, ce_ids: Collection[str]) -> bool:
        """Whether one of these event ids can be in the table."""
        return any(self.first_ce_id <= ce_id <= self.last_ce_id for ce_id in ce_ids)


def last_offset(read: Read, *, above: int = -1) -> int:
    """The largest offset of the table, or `above` when none is larger."""
    found = pc.max(read(("offset",), from_offset(above + 1)).column("offset")).as_py()
    return above if found is None else int(found)


def row_at(read: Read, offset: int) -> LedgerRow | None:
    """The row of that offset."""
    return next(iter(ledger_rows(read(LEDGER, equal("offset", offset)))), None)


def newest_rules(read: Read) -> LedgerRow | None:
    """The row of the last `rules.applied` that was applied."""
    applied = all_of(equal("type", RulesApplied.type), equal("outcome", Outcome.APPLIED.value))
    return next(reversed(ledger_rows(read(LEDGER, applied))), None)


def of_events(read: Read, ce_ids: Collection[str]) -> list[LedgerRow]:
    """The rows of these event ids, by offset."""
    return ledger_rows(read(LEDGER, one_of("ce_id", ce_ids)))


def rows_from(read: Read, start: int, limit: int) -> list[LedgerRow]:
    """The first `limit` rows from that offset on, in order."""
    offsets = sorted(read(("offset",), from_offset(start)).column("offset").to_pylist())[:limit]
    if not offsets:
        return []
    return ledger_rows(read(LEDGER, of_offsets(start, offsets[-1] + 1)))


def judged(read: Read, start: int, end: int) -> dict[int, Judged]:
    """Offset -> how the record was judged, from `start` to `end`, that one left out."""
    return lance_rows.judged(read(lance_rows.JUDGED, of_offsets(start, end)))


def letters(read: Read) -> list[LedgerRow]:
    """The rows of dead letters and of what was said of them afterwards, by offset."""
    return ledger_rows(read(LEDGER, any_of([equal("outcome", Outcome.DEAD_LETTER.value), one_of("type", LATER_FACTS)])))


def forgets(read: Read, scope_key: str) -> list[LedgerRow]:
    """The rows of what forgot something of that session, by offset."""
    return ledger_rows(read(LEDGER, all_of(one_of("type", FORGETS), equal("scope_key", scope_key))))


def outcomes(read: Read, *, where: str = EVERY_ROW) -> dict[str, int]:
    """How many rows that match have each outcome."""
    counts = read(("outcome",), where).column("outcome").value_counts().to_pylist()
    return {item["values"]: item["counts"] for item in counts}


def tally(read: Read) -> Tally:
    """The table in numbers."""
    table = read(("offset", "outcome"), EVERY_ROW)
    counts = table.column("outcome").value_counts().to_pylist()
    offsets = np.sort(table.column("offset").to_numpy())
    return Tally(offsets, {item["values"]: item["counts"] for item in counts})


def add_up(read: Read, segment: int) -> Sums:
    """The sums of a table that gets no more rows."""
    table = read(("offset", "ce_id"), EVERY_ROW)
    ids = pc.min_max(table.column("ce_id")).as_py()
    return Sums(
        segment=segment, rows=table.num_rows, last_offset=last_offset(read),
        first_ce_id=ids["min"] or "", last_ce_id=ids["max"] or "", outcomes=outcomes(read),
    )  # fmt: skip


def sums_table(sums: Sums) -> pa.Table:
    """The sums as one row of Arrow."""
    values: dict[str, Any] = {name: [getattr(sums, name)] for name in Sums.__slots__}
    return pa.table(values | {"outcomes": [json.dumps(sums.outcomes)]}, schema=SUMS_SCHEMA)


def all_sums(read: Read) -> dict[int, Sums]:
    """Segment -> its sums, for every closed table."""
    rows = read(tuple(SUMS_SCHEMA.names), EVERY_ROW).to_pylist()
    return {row["segment"]: Sums(**(row | {"outcomes": json.loads(row["outcomes"])})) for row in rows}
