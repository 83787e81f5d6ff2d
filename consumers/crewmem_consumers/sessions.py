"""What a batch is decided from: the rows of each session as one version of the table has them, and the batch's own effects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
from crewmem_producers.names import Scope
from crewmem_store import effects
from crewmem_store.rows import MemoryRow, Vector
from crewmem_store.store import PartitionView
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update


class Session:
    """The rows of one scope, by id, with the look-ups that deciding needs."""

    def __init__(self, rows: Iterable[MemoryRow], *, dimensions: int) -> None:
        self._rows: dict[str, MemoryRow] = {}
        self._by_hash: dict[str, list[str]] = defaultdict(list)
        self._by_key: dict[str, list[str]] = defaultdict(list)
        self._by_task: dict[str, list[str]] = defaultdict(list)
        self._by_event: dict[str, list[str]] = defaultdict(list)
        self._ids: list[str] = []
        self._matrix: Vector = np.zeros((16, dimensions), dtype=np.float32)
        self.erased_below = -1
        self._erased_until = datetime.min.replace(tzinfo=UTC)
        for row in rows:
            self.add(row)

    def add(self, row: MemoryRow) -> None:
        """Puts a row in; one with an id that is there already changes nothing."""
        if row.id in self._rows:
            return
        self._rows[row.id] = row
        self._by_event[row.event_id].append(row.id)
        if effects.is_marker(row):
            self.erased_below = max(self.erased_below, row.offset)
            self._erased_until = max(self._erased_until, row.created_at)
        if row.source_hash is not None:
            self._by_hash[row.source_hash].append(row.id)
        if row.key is not None:
            self._by_key[row.key].append(row.id)
        if row.task_key is not None:
            self._by_task[row.task_key].append(row.id)
        if row.vector is not None:
            self._append(row.id, row.vector)

    def is_erased(self, *, offset: int, time: datetime) -> bool:
        """Whether an event belongs to what an erasure of the session before it took away: one that lies below the erasure, or
        happened before it and came to the log later, from a publisher that was offline."""
        return offset < self.erased_below or time <= self._erased_until

    def get(self, id: str) -> MemoryRow | None:
        return self._rows.get(id)

    def of_event(self, event_id: str) -> list[MemoryRow]:
        return [self._rows[id] for id in self._by_event[event_id]]

    def of_parent(self, parent: str) -> list[MemoryRow]:
        return [row for row in self._rows.values() if row.parent == parent]

    def equal(self, source_hash: str) -> list[MemoryRow]:
        """Rows of that redacted source."""
        return [self._rows[id] for id in self._by_hash[source_hash]]

    def near(self, vector: Vector, cosine: float) -> list[MemoryRow]:
        """Rows whose vector is at least that close."""
        close = self._matrix[: len(self._ids)] @ vector >= cosine
        return [self._rows[self._ids[place]] for place in np.flatnonzero(close)]

    def apply(self, update: Update) -> bool:
        """Applies an update; whether any row changed."""
        changed = False
        for id in self._touched(update):
            row = self._rows.get(id)
            after = None if row is None else effects.apply(row, update)
            if after is not None and after is not row:
                self._rows[id], changed = after, True
        return changed

    def _touched(self, update: Update) -> Sequence[str]:
        match update:
            case SupersedeKey():
                return self._by_key[update.key]
            case SupersedeFailures():
                return self._by_task[update.task_key]
            case Extend():
                return [update.id]
            case Forget():
                return update.ids
            case Erase() | EraseKey():
                return list(self._rows)

    def _append(self, id: str, vector: Vector) -> None:
        if len(self._ids) == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
        self._matrix[len(self._ids)] = vector
        self._ids.append(id)


class Sessions:
    """The sessions of a batch, each read from the view when it is first asked for."""

    def __init__(self, view: PartitionView, *, dimensions: int) -> None:
        self._view = view
        self._dimensions = dimensions
        self._open: dict[Scope, Session] = {}
        self._erased: list[tuple[MemoryRow, Update]] = []

    def __getitem__(self, scope: Scope) -> Session:
        if scope not in self._open:
            self._open[scope] = Session(self._view.rows(str(scope)), dimensions=self._dimensions)
            for marker, update in self._erased:
                self._take_away(scope, marker, update)
        return self._open[scope]

    def erase(self, marker: MemoryRow, update: Update) -> None:
        """An erasure of this batch: it holds for sessions that are open, and for those that are opened later."""
        self._erased.append((marker, update))
        for scope in self._open:
            self._take_away(scope, marker, update)

    def _take_away(self, scope: Scope, marker: MemoryRow, update: Update) -> None:
        if scope.key == marker.scope:
            self._open[scope].add(marker)
            self._open[scope].apply(update)
