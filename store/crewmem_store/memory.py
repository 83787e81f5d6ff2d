"""The store in memory: the twin of `lance.LanceStore` for tests, yours included. Nothing outlives the process."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

from crewmem_producers.names import record_key

from crewmem_store import effects, note
from crewmem_store.memory_reader import MemoryReader
from crewmem_store.memory_tables import Tables
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import LEDGER_WRITTEN, ROWS_MERGED, UPDATES_APPLIED, Checkpoint, StoreNote, Summary, no_checkpoint
from crewmem_store.updates import Update


class MemoryStore:
    """Keeps the whole `Store` contract in dictionaries. Thread-safe; one object is shared by writers and readers."""

    def __init__(self, *, checkpoint: Checkpoint = no_checkpoint) -> None:
        self._lock = threading.RLock()
        self._tables: dict[tuple[str, int], Tables] = {}
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
            tables = self._tables.setdefault((generation, partition), Tables())
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

    def __init__(self, tables: Tables, *, lock: threading.RLock, checkpoint: Checkpoint) -> None:
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
        keys = {record_key(scope) for scope in scopes}
        with self._lock:
            rows = [row for row in self._tables.effective_rows() if row.scope in scopes or row.scope in keys]
            ledger = [row for row in self._tables.ledger_rows() if row.ce_id in ce_ids]
        return MemoryView(rows, ledger)

    def commit(self, *, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
        with self._lock:
            for row in rows:
                self._tables.memory.setdefault(row.id, row)
        self._checkpoint(ROWS_MERGED)
        for update in updates:
            self._apply(update)
        self._checkpoint(UPDATES_APPLIED)
        with self._lock:
            for entry in ledger:
                self._tables.ledger.setdefault(entry.offset, entry)
        self._checkpoint(LEDGER_WRITTEN)

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
        """Unknown: every batch reads its sessions anew."""
        return None

    def rows(self, scope: str) -> list[MemoryRow]:
        return [effects.as_decided_from(row) for row in effects.of_scope(self._rows, scope)]

    def ledger(self, ce_id: str) -> list[LedgerRow]:
        return [row for row in self._ledger if row.ce_id == ce_id]
