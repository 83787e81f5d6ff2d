"""A partition in memory that a trial of rules decides from and writes to. Nothing of it outlives the trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from crewmem_producers.names import record_key
from crewmem_store import effects
from crewmem_store.memory import MemoryView
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, Update


class Decided(NamedTuple):
    """Which rule decided a span, and whether it went on."""

    rule: str
    kept: bool


def decided(fate: Mapping[str, Any]) -> Decided:
    """From a span's fate as a ledger row has it."""
    return Decided(fate["rule"], fate["outcome"] != Outcome.DROPPED)


class TrialPartition:
    """Keeps of each row what is decided from it, by session; of each ledger row what tells a repeated event."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, MemoryRow]] = defaultdict(dict)
        self._scope_of: dict[str, str] = {}
        self._events: dict[str, list[LedgerRow]] = defaultdict(list)
        self._last: LedgerRow | None = None
        self.fates: dict[tuple[str, str], Decided] = {}
        """(event id, span) -> what was decided of it."""

    def last(self) -> LedgerRow | None:
        return self._last

    def rules(self) -> LedgerRow | None:
        """The rules on trial decide everywhere: none of the log's is in force."""
        return None

    def view(self, *, scopes: Collection[str], ce_ids: Collection[str]) -> MemoryView:
        found = [row for scope in scopes for value in (scope, record_key(scope)) for row in self._rows[value].values()]
        below = effects.erasures(found)
        rows = sorted((effects.effective(row, below) for row in found), key=lambda row: (row.offset, row.span, row.id))
        return MemoryView(rows, [row for id in ce_ids for row in self._events.get(id, ())])

    def commit(self, *, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
        self.take(rows)
        for update in updates:
            self._apply(update)
        for entry in ledger:
            for span, fate in entry.spans.items():
                self.fates[entry.ce_id or "", span] = decided(fate)
            self._events[entry.ce_id or ""].append(replace(entry, spans={}, memory_ids=(), detail=None))
            self._last = entry

    def maintain(self) -> None:
        """There is nothing to tidy up."""

    def take(self, rows: Iterable[MemoryRow]) -> None:
        """Puts rows in, of before the trial too; an id that is there keeps what it has."""
        for row in rows:
            if row.id not in self._scope_of:
                self._put(effects.as_decided_from(row))

    def rows(self) -> Iterator[MemoryRow]:
        """Every row as it is in the end."""
        for rows in self._rows.values():
            yield from rows.values()

    def _put(self, row: MemoryRow) -> None:
        scope = row.scope or ""
        self._rows[scope][row.id] = row
        self._scope_of[row.id] = scope

    def _apply(self, update: Update) -> None:
        for id in self._touched(update):
            row = self._rows[self._scope_of[id]].pop(id)
            self._put(effects.apply(row, update))

    def _touched(self, update: Update) -> list[str]:
        match update:
            case Forget():
                return [id for id in update.ids if id in self._scope_of]
            case Extend():
                return [update.id] if update.id in self._scope_of else []
            case Erase():
                return list(self._rows[update.scope])
            case EraseKey():
                named = (rows for scope, rows in self._rows.items() if record_key(scope) == update.key)
                return [id for rows in named for id in rows]
        rows = self._rows[update.scope].values()
        return [row.id for row in rows if effects.apply(row, update) is not row]
