"""What an update does to one row: the meaning of `updates`, for every store and for whoever decides a batch.

Pure functions: a store in SQL must come to the same rows (`tests/store/conformance_store.py` holds it to that).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crewmem_producers.names import record_key

from crewmem_store.rows import MemoryRow, Outcome
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update

MARKER_KIND = "erasure"
MARKER_SPAN = "session"
PURGED = "purged"
"""`summary` of a marker once nothing of what it erased is left in the files of its table."""


def apply(row: MemoryRow, update: Update) -> MemoryRow:
    """The row after the update; the same object when the update does not touch it."""
    match update:
        case SupersedeKey():
            touched = _current(row, update) and row.key == update.key
            return replace(row, superseded_at=update.at) if touched else row
        case SupersedeFailures():
            touched = _current(row, update) and row.kind == "failure" and row.task_key == update.task_key
            return replace(row, superseded_at=update.at) if touched else row
        case Extend():
            return _extended(row, update)
        case Forget():
            return forgotten(row) if row.id in update.ids else row
        case Erase():
            touched = row.scope == update.scope and row.offset < update.before_offset and not is_marker(row)
            return erased(row, update.scope) if touched else row
        case EraseKey():
            named = row.scope is not None and record_key(row.scope) == update.key
            return apply(row, Erase(row.scope or "", update.before_offset)) if named else row


def forgotten(row: MemoryRow) -> MemoryRow:
    """The tombstone that a forgotten row becomes."""
    return replace(
        row, text=None, content=None, summary=None, vector=None, source_hash=None, key=None, metadata={}
    )  # fmt: skip


def erased(row: MemoryRow, scope: str) -> MemoryRow:
    """The tombstone that a row of an erased session becomes: it names the session no more."""
    return replace(
        forgotten(row), scope=record_key(scope), kind="note", crew=None, agent_role=None, task_key=None, parent=None
    )  # fmt: skip


def is_marker(row: MemoryRow) -> bool:
    """Whether the row says that its session (`scope` is the record key) was erased below its offset."""
    return row.kind == MARKER_KIND and row.outcome is Outcome.FORGOTTEN and row.span == MARKER_SPAN


def erasures(rows: Iterable[MemoryRow]) -> dict[str, int]:
    """Record key -> offset of the session's last erasure."""
    found: dict[str, int] = {}
    for row in rows:
        if is_marker(row) and row.scope is not None:
            found[row.scope] = max(row.offset, found.get(row.scope, -1))
    return found


def effective(row: MemoryRow, erased_below: Mapping[str, int]) -> MemoryRow:
    """The row as its session's erasures leave it: one that a late writer put below an erasure counts as erased."""
    if row.scope is None or not erased_below:
        return row
    offset = erased_below.get(record_key(row.scope))
    return row if offset is None else apply(row, Erase(row.scope, offset))


def of_scope(rows: Iterable[MemoryRow], scope: str) -> list[MemoryRow]:
    """The rows of the scope, and what its erasures left under its record key.

    A session may be named like another one's record key: only rows without text count as left by an erasure.
    """
    key = record_key(scope)
    return [row for row in rows if row.scope == scope or (row.scope == key and row.text is None)]


def least_text(rows: Sequence[Mapping[str, Any]]) -> int:
    """The place of the row on which updates have had their effect, of rows (as columns) of one id: they only differ in what
    happened to the first of them before the others were inserted."""
    return min(range(len(rows)), key=lambda place: _untouched(rows[place]))


def _untouched(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    expires_at = row["expires_at"]
    until = float("inf") if expires_at is None else expires_at.timestamp()
    return row["text"] is not None, row["superseded_at"] is None, -until


def as_decided_from(row: MemoryRow) -> MemoryRow:
    """The row as a `PartitionView` shows it: without the columns that nothing is decided from."""
    return replace(
        row, content=None, summary=None, metadata={}, agent_role=None, importance=0.5, summariser="", made_by="", writer=None
    )  # fmt: skip


def _current(row: MemoryRow, update: SupersedeKey | SupersedeFailures) -> bool:
    return (
        row.scope == update.scope and row.offset < update.before_offset and row.text is not None and row.superseded_at is None
    )


def _extended(row: MemoryRow, update: Extend) -> MemoryRow:
    touched = row.id == update.id and row.offset < update.before_offset and row.text is not None
    if not touched or row.expires_at is None:
        return row
    later = update.expires_at is None or update.expires_at > row.expires_at
    return replace(row, expires_at=update.expires_at) if later else row
