"""One generation of a `MemoryStore` as readers see it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
from crewmem_producers.events import FORGETS, LATER_FACTS

from crewmem_store.memory_tables import Tables
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.store import SCAN_ROWS, Changed, Judged, Made, Rows, Tally


class MemoryReader:
    """A `StoreReader` of a `MemoryStore`."""

    def __init__(
        self, generation: str, *, tables: dict[tuple[str, int], Tables], dimensions: dict[str, int], lock: threading.RLock
    ) -> None:
        self._generation = generation
        self._all = tables
        self._dimensions = dimensions
        self._lock = lock

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

    def events(self, partition: int, event_ids: Collection[str]) -> list[LedgerRow]:
        with self._lock:
            return [row for row in self._tables(partition).ledger_rows() if row.ce_id in event_ids]

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

    def outcomes_of(self, partition: int, tenant: str) -> dict[str, int]:
        with self._lock:
            rows = [row for row in self._tables(partition).ledger.values() if (row.scope_key or "").startswith(f"{tenant}/")]
        return dict(Counter(row.outcome.value for row in rows))

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
            ledger = dict(self._tables(partition).ledger)
        return [_made(row, row.text, ledger.get(row.offset)) for row in rows if row.text is not None]

    def damage(self, partitions: Collection[int]) -> dict[int, str]:
        del partitions  # there are no files that could be damaged
        return {}

    def check(self, partition: int) -> Iterator[tuple[int, Sequence[Changed]]]:
        for rows in self.scan(partition):
            yield len(rows), ()

    def scan(self, partition: int) -> Iterator[list[MemoryRow]]:
        with self._lock:
            rows = self._tables(partition).effective_rows()
        for start in range(0, len(rows), SCAN_ROWS):
            yield [replace(row, vector=None) for row in rows[start : start + SCAN_ROWS]]

    def _tables(self, partition: int) -> Tables:
        return self._all.get((self._generation, partition), Tables())

    def _partitions(self) -> list[int]:
        return sorted(partition for generation, partition in self._all if generation == self._generation)

    def _everything(self) -> list[MemoryRow]:
        with self._lock:
            return [row for partition in self._partitions() for row in self._tables(partition).effective_rows()]


def _made(row: MemoryRow, text: str, entry: LedgerRow | None) -> Made:
    return Made(
        id=row.id, offset=row.offset, span=row.span, text=text, content=row.content, summary=row.summary,
        source_hash=row.source_hash or "", vector=row.vector, embedder=row.embedder, summariser=row.summariser,
        made_by=row.made_by, judged=None if entry is None else Judged(entry.crc, entry.rules_sha256, entry.spans),
    )  # fmt: skip
