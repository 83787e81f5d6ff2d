"""The store in memory: the twin of `lance.LanceStore` for tests, yours included. Nothing outlives the process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from crewmem_producers.events import FORGETS, LATER_FACTS, RulesApplied

from crewmem_store import effects, note
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.store import Made, Rows, StoreNote, Summary, Tally
from crewmem_store.updates import Update

SCAN_ROWS = 2_000
"""Rows that a scan gives at once: a few megabytes, as a memory's content has 10,000 characters at most."""


def no_checkpoint(name: str) -> None:
    """Nothing happens between the steps of a commit, unless a test wants it to."""
    del name


@dataclass
class _Tables:
    """What one (generation, partition) holds."""

    memory: dict[str, MemoryRow] = field(default_factory=dict)
    ledger: dict[int, LedgerRow] = field(default_factory=dict)

    def sorted_rows(self) -> list[MemoryRow]:
        return sorted(self.memory.values(), key=lambda row: (row.offset, row.span, row.id))

    def effective_rows(self) -> list[MemoryRow]:
        below = effects.erasures(self.memory.values())
        return [effects.effective(row, below) for row in self.sorted_rows()]

    def ledger_rows(self) -> list[LedgerRow]:
        return [self.ledger[offset] for offset in sorted(self.ledger)]

    def rules(self) -> LedgerRow | None:
        applied = (row for row in self.ledger.values() if row.type == RulesApplied.type and row.outcome is Outcome.APPLIED)
        return max(applied, key=lambda row: row.offset, default=None)


class MemoryStore:
    """Keeps the whole `Store` contract in dictionaries. Thread-safe; one object is shared by writers and readers."""

    def __init__(self, *, checkpoint: Callable[[str], None] = no_checkpoint) -> None:
        self._lock = threading.RLock()
        self._tables: dict[tuple[str, int], _Tables] = {}
        self._dimensions: dict[str, int] = {}
        self._note: StoreNote | None = None
        self._checkpoint = checkpoint

    def open(self, *, namespace: str) -> None:
        if self._note is None:
            self._note = note.fresh(namespace)
        note.check(self._note, namespace=namespace)

    def partition(self, generation: str, partition: int, *, dimensions: int) -> MemoryPartition:
        with self._lock:
            self._dimensions[generation] = dimensions
            tables = self._tables.setdefault((generation, partition), _Tables())
        opened = MemoryPartition(tables, lock=self._lock, checkpoint=self._checkpoint)
        opened.erase_again()
        return opened

    def reader(self, generation: str) -> MemoryReader:
        return MemoryReader(generation, tables=self._tables, dimensions=self._dimensions, lock=self._lock)

    def generations(self) -> set[str]:
        with self._lock:
            return {generation for generation, _ in self._tables}

    def drop(self, generation: str) -> None:
        with self._lock:
            for place in [place for place in self._tables if place[0] == generation]:
                del self._tables[place]

    def close(self) -> None:
        pass


class MemoryPartition:
    """One partition of a `MemoryStore`, as its owner writes it."""

    def __init__(self, tables: _Tables, *, lock: threading.RLock, checkpoint: Callable[[str], None]) -> None:
        self._tables = tables
        self._lock = lock
        self._checkpoint = checkpoint

    def last(self) -> LedgerRow | None:
        with self._lock:
            return max(self._tables.ledger.values(), key=lambda row: row.offset, default=None)

    def rules(self) -> LedgerRow | None:
        with self._lock:
            return self._tables.rules()

    def view(self, *, scopes: Collection[str], ce_ids: Collection[str]) -> MemoryView:
        keys = {effects.record_key(scope) for scope in scopes}
        with self._lock:
            rows = [row for row in self._tables.effective_rows() if row.scope in scopes or row.scope in keys]
            ledger = [row for row in self._tables.ledger_rows() if row.ce_id in ce_ids]
        return MemoryView(rows, ledger)

    def commit(self, *, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
        with self._lock:
            for row in rows:
                self._tables.memory.setdefault(row.id, row)
        self._checkpoint("rows_merged")
        for update in updates:
            self._apply(update)
        self._checkpoint("updates_applied")
        with self._lock:
            for entry in ledger:
                self._tables.ledger.setdefault(entry.offset, entry)
        self._checkpoint("ledger_written")

    def unsummarised(self, *, summariser: str, limit: int) -> list[MemoryRow]:
        return self._unsummarised(summariser)[:limit]

    def summary_backlog(self, *, summariser: str) -> int:
        return len(self._unsummarised(summariser))

    def set_summaries(self, summaries: Sequence[Summary]) -> None:
        with self._lock:
            for summary in summaries:
                row = self._tables.memory.get(summary.id)
                if row is not None and row.text is not None:
                    changed = replace(row, summary=summary.summary, summariser=summary.summariser)
                    self._tables.memory[summary.id] = changed

    def maintain(self) -> None:
        self.erase_again()
        with self._lock:  # there are no files: what was erased is gone
            for row in [row for row in self._tables.memory.values() if effects.is_marker(row)]:
                self._tables.memory[row.id] = replace(row, summary=effects.PURGED)

    def close(self) -> None:
        pass

    def erase_again(self) -> None:
        """Erases what a late writer put below an erasure."""
        with self._lock:
            below = effects.erasures(self._tables.memory.values())
            for row_id, row in self._tables.memory.items():
                self._tables.memory[row_id] = effects.effective(row, below)

    def _unsummarised(self, summariser: str) -> list[MemoryRow]:
        with self._lock:
            rows = self._tables.effective_rows()
        return [row for row in rows if row.text is not None and row.summariser != summariser]

    def _apply(self, update: Update) -> None:
        with self._lock:
            for row_id, row in self._tables.memory.items():
                self._tables.memory[row_id] = effects.apply(row, update)


class MemoryView:
    """A `PartitionView` of a `MemoryStore`."""

    def __init__(self, rows: Sequence[MemoryRow], ledger: Sequence[LedgerRow]) -> None:
        self._rows = rows
        self._ledger = ledger

    @property
    def epoch(self) -> None:
        """Nothing can be said: every batch reads its sessions anew."""
        return None

    def rows(self, scope: str) -> list[MemoryRow]:
        return [effects.as_decided_from(row) for row in effects.of_scope(self._rows, scope)]

    def ledger(self, ce_id: str) -> list[LedgerRow]:
        return [row for row in self._ledger if row.ce_id == ce_id]


class MemoryReader:
    """A `StoreReader` of a `MemoryStore`."""

    def __init__(
        self, generation: str, *, tables: dict[tuple[str, int], _Tables], dimensions: dict[str, int], lock: threading.RLock
    ) -> None:
        self._generation = generation
        self._all = tables
        self._dimensions = dimensions
        self._lock = lock

    @property
    def generation(self) -> str:
        return self._generation

    def rows(self, scopes: Collection[str], *, partitions: Collection[int]) -> Rows:
        wanted = set(scopes)
        with self._lock:
            found = [
                row
                for partition in sorted(set(partitions))
                for row in self._tables(partition).effective_rows()
                if row.scope in wanted and row.text is not None
            ]
            width = self._dimensions.get(self._generation, 0)
        matrix = np.zeros((len(found), width), dtype=np.float32)
        for place, row in enumerate(found):
            if row.vector is not None:
                matrix[place] = row.vector
        return Rows(found, matrix)

    def scopes(self, tenant: str) -> dict[str, int]:
        with self._lock:
            return {
                row.scope: partition
                for partition in self._partitions()
                for row in self._tables(partition).effective_rows()
                if row.scope is not None and row.scope.startswith(f"{tenant}/") and row.text is not None
            }

    def get(self, id: str) -> MemoryRow | None:
        return next((row for row in self._everything() if row.id == id), None)

    def by_event(self, event_id: str) -> list[MemoryRow]:
        return [row for row in self._everything() if row.event_id == event_id]

    def duplicates(self, id: str) -> list[MemoryRow]:
        return [row for row in self._everything() if row.duplicate_of == id]

    def last_offset(self, partition: int) -> int:
        with self._lock:
            return max(self._tables(partition).ledger, default=-1)

    def has_event(self, partition: int, event_id: str) -> bool:
        with self._lock:
            return any(row.ce_id == event_id for row in self._tables(partition).ledger.values())

    def ledger(self, partition: int, *, start: int, limit: int) -> list[LedgerRow]:
        with self._lock:
            return [row for row in self._tables(partition).ledger_rows() if row.offset >= start][:limit]

    def ledger_of(self, event_id: str) -> list[tuple[int, LedgerRow]]:
        with self._lock:
            return [
                (partition, row)
                for partition in self._partitions()
                for row in self._tables(partition).ledger_rows()
                if row.ce_id == event_id
            ]

    def rules(self, partition: int) -> LedgerRow | None:
        with self._lock:
            return self._tables(partition).rules()

    def outcomes(self, partition: int) -> dict[str, int]:
        with self._lock:
            return dict(Counter(row.outcome.value for row in self._tables(partition).ledger.values()))

    def tally(self, partition: int) -> Tally:
        with self._lock:
            rows = self._tables(partition).ledger_rows()
        return Tally(np.array([row.offset for row in rows], dtype=np.int64), dict(Counter(row.outcome.value for row in rows)))

    def forgets(self, partition: int, scope_key: str) -> list[LedgerRow]:
        with self._lock:
            rows = self._tables(partition).ledger_rows()
        return [row for row in rows if row.type in FORGETS and row.scope_key == scope_key]

    def letters(self, partition: int) -> list[LedgerRow]:
        with self._lock:
            rows = self._tables(partition).ledger_rows()
        return [row for row in rows if row.outcome is Outcome.DEAD_LETTER or row.type in LATER_FACTS]

    def made(self, partition: int, *, start: int, end: int) -> list[Made]:
        with self._lock:
            rows = [row for row in self._tables(partition).effective_rows() if start <= row.offset < end]
            crcs = {offset: row.crc for offset, row in self._tables(partition).ledger.items()}
        return [
            Made(
                id=row.id, offset=row.offset, crc=crcs.get(row.offset), text=row.text, content=row.content, summary=row.summary,
                source_hash=row.source_hash or "", vector=row.vector, embedder=row.embedder, summariser=row.summariser,
                made_by=row.made_by,
            )
            for row in rows
            if row.text is not None
        ]  # fmt: skip

    def scan(self, partition: int) -> Iterator[list[MemoryRow]]:
        with self._lock:
            rows = self._tables(partition).effective_rows()
        for start in range(0, len(rows), SCAN_ROWS):
            yield [replace(row, vector=None) for row in rows[start : start + SCAN_ROWS]]

    def _tables(self, partition: int) -> _Tables:
        return self._all.get((self._generation, partition), _Tables())

    def _partitions(self) -> list[int]:
        return sorted(partition for generation, partition in self._all if generation == self._generation)

    def _everything(self) -> list[MemoryRow]:
        with self._lock:
            return [row for partition in self._partitions() for row in self._tables(partition).effective_rows()]
