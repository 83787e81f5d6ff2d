"""What a batch is decided from: the rows of each session as one version of the table has them, and the batch's own effects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType

from crewmem_producers.names import Scope
from crewmem_store import effects
from crewmem_store.rows import MemoryRow, Vector
from crewmem_store.store import PartitionView
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update

from crewmem_consumers.claims import claims
from crewmem_consumers.neighbours import Compared, Neighbours

ROW_BYTES = 2_000
"""Of a row with its places in the look-ups, without its text and vector."""


class Session:
    """The rows of one scope, by id, with the look-ups that deciding needs."""

    def __init__(self, rows: Iterable[MemoryRow], *, dimensions: int) -> None:
        self._rows: dict[str, MemoryRow] = {}
        self._by_hash: dict[str, list[str]] = defaultdict(list)
        self._by_key: dict[str, list[str]] = defaultdict(list)
        self._by_task: dict[str, list[str]] = defaultdict(list)
        self._by_event: dict[str, list[str]] = defaultdict(list)
        self._by_parent: dict[str, list[str]] = defaultdict(list)
        self._vectors = Neighbours(dimensions=dimensions)
        self.bytes = ROW_BYTES
        """About what it takes in memory."""
        self.erased_below = -1
        self._erased_until = datetime.min.replace(tzinfo=UTC)
        for row in rows:
            self.add(row)

    def add(self, row: MemoryRow) -> None:
        """Puts a row in; one with an id that is there already changes nothing."""
        if row.id in self._rows:
            return
        self._rows[row.id] = _held(row)
        self.bytes += ROW_BYTES + len(row.text or "")
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
        if row.parent is not None:
            self._by_parent[row.parent].append(row.id)
        if row.vector is not None:
            self._vectors.add(row.id, row.vector)
            self.bytes += 2 * row.vector.nbytes

    def is_erased(self, *, offset: int, time: datetime) -> bool:
        """Whether an event belongs to what an erasure of the session before it took away: one that lies below the erasure, or
        happened before it and came to the log later, from a publisher that was offline."""
        return offset < self.erased_below or time <= self._erased_until

    def get(self, id: str) -> MemoryRow | None:
        return self._rows.get(id)

    def of_event(self, event_id: str) -> list[MemoryRow]:
        return [self._rows[id] for id in self._by_event[event_id]]

    def of_parent(self, parent: str) -> list[MemoryRow]:
        return [row for id in self._by_parent[parent] if (row := self._rows[id]).parent == parent]

    def equal(self, source_hash: str) -> list[MemoryRow]:
        """Rows of that redacted source."""
        return [self._rows[id] for id in self._by_hash[source_hash]]

    def compare(self, vectors: Sequence[Vector], cosine: float) -> list[Compared]:
        """Finds out ahead, for many vectors at once, what `near` would look at of the rows that are there."""
        return self._vectors.compare(vectors, cosine)

    def near(self, vector: Vector, extract: str, cosine: float, ahead: Compared) -> list[MemoryRow]:
        """Rows with the claims of this extract whose vector is at least that close to this one."""
        close = [self._rows[id] for id in self._vectors.near(vector, cosine, ahead)]
        return [row for row in close if row.text is not None and _claims(_extract_of(row)) == _claims(extract)]

    def apply(self, update: Update) -> list[str]:
        """Applies an update; the ids of the rows that it changed."""
        changed = []
        for id in self._touched(update):
            row = self._rows.get(id)
            after = None if row is None else effects.apply(row, update)
            if after is not None and after is not row:
                self._rows[id] = after
                changed.append(id)
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


class Sessions:
    """The sessions of a batch, each read from the view when it is first asked for, unless `kept` holds it."""

    def __init__(self, view: PartitionView, *, dimensions: int, kept: Mapping[Scope, Session] = MappingProxyType({})) -> None:
        self._view = view
        self._dimensions = dimensions
        self._kept = kept
        self._open: dict[Scope, Session] = {}
        self._erased: list[tuple[MemoryRow, Update]] = []

    def __getitem__(self, scope: Scope) -> Session:
        if scope not in self._open:
            session = self._kept.get(scope)
            if session is None:
                session = Session(self._view.rows(str(scope)), dimensions=self._dimensions)
            self._open[scope] = session
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

    @property
    def open(self) -> Mapping[Scope, Session]:
        """Those that were asked for, as the batch leaves them."""
        return self._open

    @property
    def erases(self) -> bool:
        """Whether the batch holds an erasure: then sessions that it did not open are changed as well."""
        return bool(self._erased)


def _held(row: MemoryRow) -> MemoryRow:
    """The row with what is decided from and no more; its vector is among the session's."""
    return MemoryRow(
        id=row.id, scope=row.scope, event_id=row.event_id, span=row.span, offset=row.offset, created_at=row.created_at,
        outcome=row.outcome, duplicate_of=row.duplicate_of, kind=row.kind, task_key=row.task_key, text=row.text,
        source_hash=row.source_hash, expires_at=row.expires_at, key=row.key, superseded_at=row.superseded_at, parent=row.parent,
    )  # fmt: skip


def _extract_of(row: MemoryRow) -> str:
    """The row's text without `<who> (<date>): `."""
    return (row.text or "").partition(f"({row.created_at:%Y-%m-%d}): ")[2]


@lru_cache(maxsize=4096)
def _claims(extract: str) -> Counter[str]:
    return claims(extract)
