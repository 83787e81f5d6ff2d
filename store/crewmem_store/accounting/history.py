"""What can only be compared at the end of a walk, over all positions: kept as hashes, a few bytes a position and a memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from crewmem_store.accounting.forgets import Forgets
from crewmem_store.accounting.marks import Column, Marks, mark
from crewmem_store.rows import ERASED, REPEAT, LedgerRow, MemoryRow, Outcome

_YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PROCESSED, _REPEATED, _UNREADABLE = 0, 1, 2


class History:
    """Hashes of events, of row ids, of what rows refer to, and of memories, in the order of the log."""

    def __init__(self) -> None:
        self._ids = Column()
        self._events, self._event_offsets, self._event_states = Column(), Column(), Column()
        self._needed: dict[int, tuple[int, str]] = {}
        self._scopes, self._memory_events, self._memory_spans = Column(), Column(), Column()
        self._offsets, self._times, self._texts = Column(), Column(), Column()

    def id(self, id: str) -> None:
        """Notes that a row of that id is in the store."""
        self._ids.add(mark(id))

    def needs(self, id: str, offset: int, by: str) -> None:
        """Notes that the row `by` at that offset is only right if a row `id` is in the store."""
        self._needed[mark(id)] = (offset, by)

    def event(self, entry: LedgerRow) -> None:
        """Notes what became of a session's event; control events, and what was never an event, may come again."""
        if entry.scope_key is None or entry.outcome is Outcome.DEAD_LETTER:
            return
        repeated = entry.outcome is Outcome.DUPLICATE and entry.reason == REPEAT
        unreadable = entry.outcome is Outcome.FORGOTTEN and entry.reason == ERASED
        self._events.add(mark(entry.scope_key, entry.ce_id))
        self._event_offsets.add(entry.offset)
        self._event_states.add(_REPEATED if repeated else _UNREADABLE if unreadable else _PROCESSED)

    def memory(self, scope_key: str, row: MemoryRow) -> None:
        """Notes a row that was stored, with text or forgotten since."""
        self._scopes.add(mark(scope_key))
        self._memory_events.add(mark(scope_key, row.event_id))
        self._memory_spans.add(mark(scope_key, row.event_id, row.span))
        self._offsets.add(row.offset)
        self._times.add(_microseconds(row.created_at))
        self._texts.add(row.text is not None)

    def missing(self) -> Iterator[tuple[int, str]]:
        """(offset, id) of rows that refer to one that is not there."""
        if not self._needed:
            return
        needed = np.fromiter(self._needed, dtype=np.uint64, count=len(self._needed))
        for one in needed[~np.isin(needed, self._ids.values())].tolist():
            yield self._needed[one]

    def twice(self) -> Iterator[tuple[int, str]]:
        """(offset, why) of events that were processed a second time, and of repeats of nothing."""
        events, offsets, states = (c.values() for c in (self._events, self._event_offsets, self._event_states))
        order = np.lexsort((offsets, events))
        events, offsets, states = events[order], offsets[order], states[order]
        follows = np.zeros(len(events), dtype=bool)
        follows[1:] = events[1:] == events[:-1]
        for place in np.flatnonzero(follows & (states == _PROCESSED)).tolist():
            yield int(offsets[place]), f"the same event was processed at offset {offsets[place - 1]}, and here again"
        for place in np.flatnonzero(~follows & (states == _REPEATED)).tolist():
            yield int(offsets[place]), "it says that the event came before, and nothing before it has that event"

    def to_look_at(self, forgets: Forgets) -> set[int]:
        """Offsets whose text seems to contradict `forgets`. Hashes can collide, so the caller compares names."""
        offsets, texts = self._offsets.values(), self._texts.values() == 1
        erased = self._erased(forgets)
        events = np.isin(self._memory_events.values(), _marks(mark(*names) for names in forgets.spans))
        spans = np.isin(
            self._memory_spans.values(),
            _marks(mark(*names, span) for names, some in forgets.spans.items() for span in some),
        )
        doubtful = (texts & (erased | events)) | (~texts & ~erased & ~spans)
        return set(offsets[doubtful].tolist())

    def _erased(self, forgets: Forgets) -> npt.NDArray[np.bool_]:
        """Which memories were forgotten with their session."""
        scopes = self._scopes.values()
        if not forgets.erased:
            return np.zeros(len(scopes), dtype=bool)
        marked = sorted((mark(key), below, _microseconds(until)) for key, (below, until) in forgets.erased.items())
        marks, below, until = np.array(marked, dtype=np.uint64).T
        place = np.minimum(np.searchsorted(marks, scopes), len(marks) - 1)
        before = (self._offsets.values() < below[place]) | (self._times.values() <= until[place])
        return np.asarray((marks[place] == scopes) & before, dtype=bool)


def _microseconds(time: datetime) -> int:
    """Since the year 1."""
    return (time - _YEAR_1) // _MICROSECOND


def _marks(marks: Iterator[int]) -> Marks:
    return np.fromiter(marks, dtype=np.uint64)
