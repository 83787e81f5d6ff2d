"""The ledger of one partition as readers see it: always the newest version."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

import numpy as np

from crewmem_store import ledger_reads
from crewmem_store.lance_database import Database, read
from crewmem_store.lance_filters import events_of_tenant
from crewmem_store.lance_ledger import segment_name, segments, sums_name
from crewmem_store.ledger_reads import SEGMENT_OFFSETS, Read, Sums
from crewmem_store.rows import LedgerRow, Outcome
from crewmem_store.store import Judged, Tally

T = TypeVar("T")
_WITH_LETTERS = frozenset({Outcome.DEAD_LETTER.value, Outcome.APPLIED.value})


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
                return self._look_first()
            while True:
                table = self._database.table(segment_name(self._prefix, self._segment))
                if table is None:  # dropped
                    self._segment, self._version, self._last = None, -1, -1
                    return -1
                if table.version != self._version:
                    self._version, self._last = self._newest_offset(self._segment)
                    return self._last
                if self._database.table(segment_name(self._prefix, self._segment + 1)) is None:
                    return self._last
                self._segment, self._version = self._segment + 1, -1

    def of_events(self, event_ids: Collection[str]) -> list[LedgerRow]:
        """The rows of these event ids, by offset."""
        sums = self._sums()
        found: list[LedgerRow] = []
        for segment in self._segments():
            if segment not in sums or sums[segment].may_hold(event_ids):
                found += self._on(segment, partial(ledger_reads.of_events, ce_ids=event_ids), [])
        return found

    def rows(self, *, start: int, limit: int) -> list[LedgerRow]:
        """The first `limit` rows from offset `start` on, in order."""
        found: list[LedgerRow] = []
        for segment in self._segments():
            if (segment + 1) * SEGMENT_OFFSETS > start and len(found) < limit:
                found += self._on(segment, partial(ledger_reads.rows_from, start=start, limit=limit - len(found)), [])
        return found

    def judged(self, *, start: int, end: int) -> dict[int, Judged]:
        """Offset -> how the record was judged, from `start` to `end`, that one left out."""
        found: dict[int, Judged] = {}
        for segment in range(start // SEGMENT_OFFSETS, (end - 1) // SEGMENT_OFFSETS + 1):
            found |= self._on(segment, partial(ledger_reads.judged, start=start, end=end), dict[int, Judged]())
        return found

    def rules(self) -> LedgerRow | None:
        """The newest row of a `rules.applied` record that was applied."""
        found = (self._on(segment, ledger_reads.newest_rules, None) for segment in reversed(self._segments()))
        return next((row for row in found if row is not None), None)

    def forgets(self, scope_key: str) -> list[LedgerRow]:
        """The rows of what forgot something of that session, by offset."""
        return [
            row
            for segment in self._segments()
            for row in self._on(segment, partial(ledger_reads.forgets, scope_key=scope_key), list[LedgerRow]())
        ]

    def letters(self) -> list[LedgerRow]:
        """The rows of dead letters and of what was said of them afterwards, by offset."""
        sums = self._sums()
        found: list[LedgerRow] = []
        for segment in self._segments():
            if segment not in sums or not _WITH_LETTERS.isdisjoint(sums[segment].outcomes):
                found += self._on(segment, ledger_reads.letters, [])
        return found

    def outcomes(self) -> dict[str, int]:
        """How many rows have each outcome; of closed tables their sums say so."""
        total: Counter[str] = Counter()
        sums, nothing = self._sums(), dict[str, int]()
        for segment in self._segments():
            total.update(sums[segment].outcomes if segment in sums else self._on(segment, ledger_reads.outcomes, nothing))
        return dict(total)

    def outcomes_of(self, tenant: str) -> dict[str, int]:
        """How many rows of the tenant's events have each outcome, counted in the rows."""
        total: Counter[str] = Counter()
        count, nothing = partial(ledger_reads.outcomes, where=events_of_tenant(tenant)), dict[str, int]()
        for segment in self._segments():
            total.update(self._on(segment, count, nothing))
        return dict(total)

    def tally(self) -> Tally:
        """Offsets and outcomes of all rows. The newest table is read first: what is written meanwhile lies above its rows."""
        none = Tally(np.zeros(0, dtype=np.int64), {})
        found = [self._on(segment, ledger_reads.tally, none) for segment in reversed(self._segments())]
        outcomes: Counter[str] = Counter()
        for one in found:
            outcomes.update(one.outcomes)
        return Tally(np.concatenate([none.offsets, *(one.offsets for one in reversed(found))]), dict(outcomes))

    def _segments(self) -> list[int]:
        return segments(self._database.names(f"{self._prefix}_"), self._prefix)

    def _look_first(self) -> int:
        """The largest offset, of the newest table that has any: an owner makes the next one before it writes to it."""
        for segment in reversed(self._segments()):
            self._segment = segment
            self._version, self._last = self._newest_offset(segment)
            if self._last >= 0:
                break
        return self._last

    def _newest_offset(self, segment: int) -> tuple[int, int]:
        """The segment's version and its largest offset."""

        def work(table: Any) -> tuple[int, int]:
            return int(table.version), ledger_reads.last_offset(partial(read, table), above=self._last)

        return self._database.at_newest(segment_name(self._prefix, segment), work, (-1, self._last))

    def _on(self, segment: int, work: Callable[[Read], T], default: T) -> T:
        name = segment_name(self._prefix, segment)
        return self._database.at_newest(name, lambda table: work(partial(read, table)), default)

    def _sums(self) -> dict[int, Sums]:
        def work(table: Any) -> dict[int, Sums]:
            return ledger_reads.all_sums(partial(read, table))

        return self._database.at_newest(sums_name(self._prefix), work, {})
