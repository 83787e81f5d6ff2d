"""One position after the other: what the log has there, what the ledger says of it, which rows of memory lie there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crewmem_producers.events import MemoryForgotten, SessionForgotten
from crewmem_producers.names import memory_id

from crewmem_store import effects
from crewmem_store.accounting.forgets import Forgets, Named
from crewmem_store.accounting.history import History
from crewmem_store.accounting.misfits import Kind
from crewmem_store.rows import ERASED, OF_SPANS, LedgerRow, MemoryRow, Outcome


class Found(Protocol):
    """What `Misfits.at` gives: it takes one misfit of the partition."""

    def __call__(
        self, kind: Kind, offset: int, says: str, *, event_id: str | None = None, memory_id: str | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a record of the log: not its body."""

    offset: int
    crc: int
    key: str | None
    ce_id: str | None
    ce_type: str | None
    names: Named | None


class Positions:
    """Compares position by position, in order. `history` and `forgets` take what is compared at the end."""

    def __init__(self, partition: int, *, found: Found, first: int, history: History, forgets: Forgets) -> None:
        """`first` is the log's first offset: below it there is nothing to compare the ledger with."""
        self._partition = partition
        self._found = found
        self._first = first
        self._history = history
        self._forgets = forgets
        self._early: dict[str, MemoryRow] = {}
        self.outcomes: Counter[str] = Counter()
        self.before_log = 0

    def compare(self, offset: int, seen: Seen | None, ledger: Sequence[LedgerRow], rows: Sequence[MemoryRow]) -> None:
        """Compares what lies at one offset: the log's record (None: the log has none), the ledger's rows, and the rows of
        memory. Offsets come in rising order, each once."""
        for row in rows:
            self._history.id(row.id)
        for entry in ledger:
            self.outcomes[entry.outcome.value] += 1
        if not ledger:
            self._without_ledger(offset, seen, rows)
            return
        entry = ledger[0]
        if len(ledger) > 1:
            self._found(Kind.DOUBLED, offset, f"{len(ledger)} ledger rows", event_id=entry.ce_id)
        self._with_log(entry, seen)
        self._with_itself(entry)
        self._with_rows(entry, seen, rows)
        self._history.event(entry)

    def _without_ledger(self, offset: int, seen: Seen | None, rows: Sequence[MemoryRow]) -> None:
        if seen is not None:
            self._found(Kind.MISSING, offset, f"no ledger row, and {len(rows)} rows of memory", event_id=seen.ce_id)
            return
        for row in rows:
            self._unnamed(row, "no ledger row")

    def _with_log(self, entry: LedgerRow, seen: Seen | None) -> None:
        if seen is None:
            if entry.offset < self._first:
                self.before_log += 1
            else:
                self._found(Kind.NO_RECORD, entry.offset, f"{entry.outcome}, of nothing on the log", event_id=entry.ce_id)
            return
        said: dict[str, tuple[object, object]] = {"CRC": (entry.crc, seen.crc)}
        if entry.outcome is not Outcome.DEAD_LETTER and entry.reason != ERASED:  # else they are as far as they could be read
            said |= {"event id": (entry.ce_id, seen.ce_id), "type": (entry.type, seen.ce_type)}
        if entry.scope_key is not None:
            said["key"] = (entry.scope_key, seen.key)
        differs = [f"{name} {mine}, on the log {theirs}" for name, (mine, theirs) in said.items() if mine != theirs]
        if differs:
            self._found(Kind.OTHER_RECORD, entry.offset, f"in the ledger {'; '.join(differs)}", event_id=entry.ce_id)

    def _with_itself(self, entry: LedgerRow) -> None:
        """Whether outcome and memories are what the spans say."""
        fates = list(entry.spans.values())
        stored = [fate["memory_id"] for fate in fates if fate["outcome"] == Outcome.STORED and "memory_id" in fate]
        if list(entry.memory_ids) != stored:
            said = f"its memories are {list(entry.memory_ids)}, those of its spans {stored}"
            self._found(Kind.CONTRADICTION, entry.offset, said, event_id=entry.ce_id)
        if fates:
            present = {fate["outcome"] for fate in fates}
            outcome = next((outcome for outcome in OF_SPANS if outcome in present), None)
            if outcome is not entry.outcome:
                said = f"it says {entry.outcome}, its spans say {', '.join(sorted(present))}"
                self._found(Kind.CONTRADICTION, entry.offset, said, event_id=entry.ce_id)

    def _with_rows(self, entry: LedgerRow, seen: Seen | None, rows: Sequence[MemoryRow]) -> None:
        fates = {fate["memory_id"]: (span, fate) for span, fate in entry.spans.items() if fate.get("memory_id")}
        there: set[str] = set()
        for row in rows:
            if row.id in there or row.id in self._early:
                self._found(Kind.ROW_DOUBLED, row.offset, "its id is there twice", event_id=row.event_id, memory_id=row.id)
            elif row.id in fates:
                self._with_fate(entry, row, *fates[row.id])
            elif not self._is_of_a_forget(entry, seen, row) and not _is_of_a_write_before(entry, row):
                self._unnamed(row, f"the ledger says {entry.outcome} there, and nothing of this row")
            there.add(row.id)
        for id, (span, fate) in fates.items():
            if id not in there:
                self._without_row(entry, id, span, fate)
        if entry.outcome is Outcome.APPLIED:
            self._forgetting(entry, seen, rows)

    def _with_fate(self, entry: LedgerRow, row: MemoryRow, span: str, fate: Mapping[str, Any]) -> None:
        mine = (entry.ce_id, span, fate["outcome"], fate.get("duplicate_of"))
        theirs = (row.event_id, row.span, row.outcome.value, row.duplicate_of)
        if mine != theirs:
            said = f"in the ledger {_listed(mine)}, in the store {_listed(theirs)}"
            self._found(Kind.ROW_DIFFERS, row.offset, said, event_id=entry.ce_id, memory_id=row.id)
        if row.duplicate_of is not None:
            self._history.needs(row.duplicate_of, row.offset, row.id)
        if row.outcome is Outcome.STORED:
            self._history.memory(entry.scope_key or "", row)

    def _without_row(self, entry: LedgerRow, id: str, span: str, fate: Mapping[str, Any]) -> None:
        """The span's row may lie at an earlier position, that of the forget which named it first."""
        early = self._early.get(id)
        if early is None:
            said = f"{fate['outcome']}, but the store has no row of {span}"
            self._found(Kind.ROW_MISSING, entry.offset, said, event_id=entry.ce_id, memory_id=id)
        elif fate["outcome"] != Outcome.FORGOTTEN or early.span != span or early.event_id != entry.ce_id:
            said = f"in the ledger {fate['outcome']} {span}, in the store {early.outcome} {early.span} from {early.offset} on"
            self._found(Kind.ROW_DIFFERS, entry.offset, said, event_id=entry.ce_id, memory_id=id)

    def _is_of_a_forget(self, entry: LedgerRow, seen: Seen | None, row: MemoryRow) -> bool:
        """Whether the row is the tombstone or the marker that a record at its position left."""
        if entry.outcome is not Outcome.APPLIED or row.outcome is not Outcome.FORGOTTEN or row.text is not None:
            return False
        if entry.type == SessionForgotten.type:
            return effects.is_marker(row) and (row.event_id, row.scope) == (entry.ce_id, entry.scope_key)
        if entry.type != MemoryForgotten.type:
            return False
        self._early[row.id] = row
        readable = seen is not None and seen.names is not None
        return not readable or (row.event_id, row.span) in seen.names.refs  # type: ignore[union-attr]

    def _forgetting(self, entry: LedgerRow, seen: Seen | None, rows: Sequence[MemoryRow]) -> None:
        """Notes what a forget names, and checks what it must have left: a row for every span, a marker for a session."""
        if entry.type == SessionForgotten.type and entry.scope_key is not None and entry.created_at is not None:
            self._forgets.erase(entry.scope_key, entry.offset, entry.created_at)
            if not any(effects.is_marker(row) for row in rows):
                said = "the erasure's marker is not in the store"
                self._found(Kind.ROW_MISSING, entry.offset, said, event_id=entry.ce_id)
        elif entry.type == MemoryForgotten.type and (seen is None or seen.names is None):
            self._forgets.unread.add(entry.scope_key or "")
        elif entry.type == MemoryForgotten.type and seen is not None and seen.names is not None:
            self._forgets.name(seen.names)
            for event_id, span in seen.names.refs:
                id = memory_id(self._partition, str(seen.names.scope), event_id, span)
                self._history.needs(id, entry.offset, id)

    def _unnamed(self, row: MemoryRow, says: str) -> None:
        self._found(Kind.ROW_UNNAMED, row.offset, says, event_id=row.event_id, memory_id=row.id)


def _is_of_a_write_before(entry: LedgerRow, row: MemoryRow) -> bool:
    """Whether an owner wrote this row, was killed before its ledger row, and the session was erased before the next owner
    came."""
    return entry.reason == ERASED and row.event_id == entry.ce_id and row.text is None


def _listed(values: Sequence[object]) -> str:
    return " ".join(str(value) for value in values if value is not None)
