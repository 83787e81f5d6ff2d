"""What the owner of a partition remembers of it from one batch to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable

from crewmem_producers.names import record_key

from crewmem_store import effects
from crewmem_store.rows import MemoryRow
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, Update

_ROW_BYTES = 1_000
"""A row's Python objects, without its text and vector."""


class ScopeCache:
    """Rows by the value of their scope column, complete for each value held, true for one table version only.

    Commits of the owner are carried over to the next version; a version that another writer made empties it. The
    values used last stay, up to `max_bytes`. Rows are as a `PartitionView` shows them.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._version = -1
        self._epoch = 0
        self._values: OrderedDict[str, dict[str, MemoryRow]] = OrderedDict()
        self._bytes: dict[str, int] = {}

    def at(self, version: int) -> None:
        """Declares that the table is at this version: what is held of another one is dropped."""
        if version != self._version:
            self._epoch += 1
            self._values.clear()
            self._bytes.clear()
            self._version = version

    def carried_to(self, version: int) -> None:
        """Declares that this version holds exactly the changes reported since `at`."""
        self._version = version

    @property
    def version(self) -> int:
        """The version of the table that what is held is of."""
        return self._version

    @property
    def epoch(self) -> int:
        """Another number after whatever another writer did, or may have done."""
        return self._epoch

    def missing(self, values: Collection[str]) -> set[str]:
        """Those of the values that are not held."""
        return {value for value in values if value not in self._values}

    def hold(self, values: Collection[str], rows: Iterable[MemoryRow]) -> None:
        """Keeps every row that the table has for these values."""
        for value in values:
            self._values[value] = {}
            self._bytes[value] = 0
        for row in rows:
            self._add(row)

    def rows(self, scope: str) -> list[MemoryRow]:
        """The rows of the scope, as its erasures leave them; scope and record key must be held."""
        found: list[MemoryRow] = []
        for value in (scope, record_key(scope)):
            self._values.move_to_end(value)
            found += self._values[value].values()
        below = effects.erasures(found)
        kept = effects.of_scope((effects.effective(row, below) for row in found), scope)
        return sorted(kept, key=lambda row: (row.offset, row.span, row.id))

    def insert(self, rows: Iterable[MemoryRow]) -> None:
        """Inserts as a merge does: an id that is there keeps what it has, also if an erasure moved it to the record key."""
        for row in rows:
            if row.scope is None or row.scope not in self._values:
                continue
            key = record_key(row.scope)
            if key not in self._values:
                self._drop(row.scope)  # nobody knows whether the id is there
            elif row.id not in self._values[row.scope] and row.id not in self._values[key]:
                self._add(effects.as_decided_from(row))

    def apply(self, update: Update) -> bool | None:
        """Applies the update to what is held. Returns whether it changes anything in the table; None: unknown."""
        match update:
            case Forget():
                places = [self._place(id) for id in update.ids]
            case Extend():
                places = [self._place(update.id)]
            case Erase():
                self._drop(update.scope)
                self._drop(record_key(update.scope))
                return None
            case EraseKey():
                for value in [value for value in self._values if update.key in (value, record_key(value))]:
                    self._drop(value)
                return None
            case _:
                return self._apply_in(update.scope, update)
        touched = [self._apply_in(place, update) if place is not None else None for place in places]
        return True if any(touched) else None if None in touched else False

    def shrink(self) -> None:
        """Drops the values used longest ago, until the rest fits."""
        while self._values and sum(self._bytes.values()) > self._max_bytes:
            self._drop(next(iter(self._values)))

    def _add(self, row: MemoryRow) -> None:
        value = row.scope or ""
        self._values[value][row.id] = row
        self._bytes[value] += _size(row)

    def _drop(self, value: str) -> None:
        self._values.pop(value, None)
        self._bytes.pop(value, None)

    def _place(self, id: str) -> str | None:
        return next((value for value, rows in self._values.items() if id in rows), None)

    def _apply_in(self, value: str, update: Update) -> bool | None:
        held = self._values.get(value)
        if held is None:
            return None
        changed = {id: new for id, row in held.items() if (new := effects.apply(row, update)) is not row}
        held.update(changed)
        return bool(changed)


def _size(row: MemoryRow) -> int:
    return _ROW_BYTES + len(row.text or "") + (0 if row.vector is None else row.vector.nbytes)
