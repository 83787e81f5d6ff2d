"""The ledger of one partition as readers see it: always the newest version."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial

from crewmem_store import ledger_reads
from crewmem_store.lance_database import Database, read
from crewmem_store.lance_ledger import segment_name, segments, sums_name
from crewmem_store.ledger_reads import SEGMENT_OFFSETS, Read, Sums
from crewmem_store.rows import LedgerRow


class LedgerReader:
    """Thread-safe. A partition that nobody has written yet is empty."""

    def __init__(self, database: Database, prefix: str) -> None:
        self._database = database
        self._prefix = prefix
        self._lock = threading.Lock()
        self._segment: int | None = None
        self._version = -1
        self._last = -1

    def last_offset(self) -> int:
        """The largest offset, or -1. Cheap when nothing was written since the last call."""
        with self._lock:
            if self._segment is None:
                self._segment = max(self._segments(), default=None)
            while self._segment is not None:
                table = self._database.table(segment_name(self._prefix, self._segment))
                if table is None:  # dropped
                    self._segment, self._version, self._last = None, -1, -1
                elif table.version != self._version:
                    self._last = ledger_reads.last_offset(partial(read, table), above=self._last)
                    self._version = table.version
                    return self._last
                elif self._database.table(segment_name(self._prefix, self._segment + 1)) is not None:
                    self._segment, self._version = self._segment + 1, -1
                else:
                    return self._last
            return -1

    def of_event(self, event_id: str) -> list[LedgerRow]:
        """The rows of that event id, by offset."""
        sums = self._sums()
        found: list[LedgerRow] = []
        for segment in self._segments():
            if segment not in sums or sums[segment].may_hold([event_id]):
                reads = self._reads(segment)
                found += [] if reads is None else ledger_reads.of_events(reads, [event_id])
        return found

    def rows(self, *, start: int, limit: int) -> list[LedgerRow]:
        found: list[LedgerRow] = []
        for segment in self._segments():
            if (segment + 1) * SEGMENT_OFFSETS > start and len(found) < limit:
                reads = self._reads(segment)
                found += [] if reads is None else ledger_reads.rows_from(reads, start, limit - len(found))
        return found

    def outcomes(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        sums = self._sums()
        for segment in self._segments():
            reads = None if segment in sums else self._reads(segment)
            total.update(sums[segment].outcomes if segment in sums else ledger_reads.outcomes(reads) if reads else {})
        return dict(total)

    def _segments(self) -> list[int]:
        return segments(self._database.names(f"{self._prefix}_"), self._prefix)

    def _reads(self, segment: int) -> Read | None:
        table = self._database.table(segment_name(self._prefix, segment))
        return None if table is None else partial(read, table)

    def _sums(self) -> dict[int, Sums]:
        table = self._database.table(sums_name(self._prefix))
        return {} if table is None else ledger_reads.all_sums(partial(read, table))
