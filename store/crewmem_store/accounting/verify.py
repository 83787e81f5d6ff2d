"""Verify: walks log, ledger and store of every partition, and names each position at which they do not fit."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.log_reading import pages
from crewmem_producers.names import record_key
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, retry_if_result, stop_after_attempt

from crewmem_store import generations
from crewmem_store.accounting import cursor
from crewmem_store.accounting.cursor import Cursor, Placed
from crewmem_store.accounting.forgets import Forgets, read_forget
from crewmem_store.accounting.history import History
from crewmem_store.accounting.misfits import Checked, Kind, Misfits, Verified
from crewmem_store.accounting.positions import Positions, Seen
from crewmem_store.errors import StoreDamaged
from crewmem_store.generations import Generation
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.store import StoreReader

WINDOW = 4_096
"""Offsets that are compared at once: what a walk holds does not grow with the log."""

ATTEMPTS = 3
"""How often a partition is walked, at most."""

T = TypeVar("T", bound=Placed)


@dataclass(frozen=True, slots=True)
class Step:
    """How far a walk is, in offsets of one partition."""

    partition: int
    done: int
    total: int


Progress = Callable[[Step], None]


async def verify(
    log: EventLog, reader: StoreReader, generation: Generation, *, keyring: Keyring, progress: Progress = lambda step: None
) -> Verified:
    """Compares every position that the generation has processed. Right also while consumers write: each partition is compared
    up to where its ledger is when its walk begins.

    It holds about 70 bytes for each position and memory of a partition, and a window of records. Raises LogUnavailable,
    StoreUnavailable, RegistryUnavailable, KeyMissing and PartitionsChanged.
    """
    generations.check_layout(generation, partitions=log.partitions)
    misfits, checked = Misfits(), []
    for partition in range(generation.partitions):
        checked.append(await _anew(log, reader, partition, keyring=keyring, progress=progress, misfits=misfits))
    return Verified(
        generation=generation.name, partitions=tuple(checked), misfits=tuple(misfits.named), counts=dict(misfits.counts)
    )  # fmt: skip


async def _anew(
    log: EventLog, reader: StoreReader, partition: int, *, keyring: Keyring, progress: Progress, misfits: Misfits
) -> Checked:
    """Walks again if a clean-up removed files being read, or if retention moved the log's start. The last walk counts. Files
    that are gone for good are a misfit, and nothing of that partition was compared."""

    async def walked() -> tuple[Checked, Misfits, bool]:
        """What was compared, what was found, and whether the log's start has moved."""
        walk = _Walk(log, reader, partition, keyring=keyring, progress=progress)
        checked = await walk.run()
        return checked, walk.misfits, (await log.first())[partition] != checked.start

    again = AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable) | retry_if_result(lambda found: found[2]),
        stop=stop_after_attempt(ATTEMPTS), retry_error_callback=_last,
    )  # fmt: skip
    try:
        last: tuple[Checked, Misfits, bool] = await again(walked)
    except StoreDamaged as error:
        misfits.at(partition)(Kind.DAMAGED, 0, str(error))
        return Checked(partition=partition, start=0, end=0, records=0, ledger=0, rows=0, before_log=0)
    misfits.take(last[1])
    return last[0]


def _last(state: RetryCallState) -> Any:
    """What came of the last attempt, whatever it was."""
    assert state.outcome is not None
    return state.outcome.result()


class _Walk:
    """One walk over one partition; `misfits` is what it found."""

    def __init__(
        self, log: EventLog, reader: StoreReader, partition: int, *, keyring: Keyring, progress: Progress
    ) -> None:  # fmt: skip
        self._log = log
        self._reader = reader
        self._partition = partition
        self._keyring = keyring
        self._progress = progress
        self.misfits = Misfits()
        self._found = self.misfits.at(partition)
        self._history, self._forgets = History(), Forgets()

    async def run(self) -> Checked:
        end = await asyncio.to_thread(self._reader.last_offset, self._partition) + 1
        first = (await self._log.first())[self._partition]
        if 0 < end < first:
            self._found(Kind.LOST, end, f"the log starts at {first}, and {end} to {first - 1} were never processed")
        positions = Positions(
            self._partition, found=self._found, first=first, history=self._history, forgets=self._forgets
        )  # fmt: skip
        counted = await self._compare(positions, start=first, end=end)
        await self._at_the_end(end)
        await self._check(end)
        await self._sums(positions.outcomes, end)
        return Checked(
            partition=self._partition, start=first, end=end, records=counted[0], ledger=counted[1], rows=counted[2],
            before_log=positions.before_log,
        )  # fmt: skip

    async def _compare(self, positions: Positions, *, start: int, end: int) -> tuple[int, int, int]:
        """How many records, ledger rows and memory rows were compared."""
        log = Cursor(self._records(start=start, end=end))
        ledger = Cursor(cursor.ledger(self._reader, self._partition, end=end))
        rows = Cursor(cursor.in_thread(self._reader.scan(self._partition)))
        counted = (0, 0, 0)
        for below in range(WINDOW, end + WINDOW, WINDOW):
            top = min(below, end)
            seen, entries, stored = await log.below(top), await ledger.below(top), await rows.below(top)
            if seen or entries or stored:
                await asyncio.to_thread(_compare_window, positions, seen, entries, stored)
            counted = (counted[0] + len(seen), counted[1] + len(entries), counted[2] + len(stored))
            self._progress(Step(self._partition, top, end))
        return counted

    async def _records(self, *, start: int, end: int) -> AsyncIterator[list[Seen]]:
        async for page in pages(self._log, self._partition, start=start, end=end):
            await self._keyring.prepare(page)
            yield [self._seen(record) for record in page]

    def _seen(self, record: LoggedRecord) -> Seen:
        key = None if record.key is None else record.key.decode("utf-8", "replace")
        names = read_forget(record, self._keyring)
        return Seen(record.offset, record.crc, key, record.header("ce_id"), record.header("ce_type"), names)

    async def _at_the_end(self, end: int) -> None:
        for offset, id in self._history.missing():
            self._found(Kind.ROW_MISSING, offset, "what it refers to is not in the store", memory_id=id)
        for offset, why in self._history.twice():
            self._found(Kind.TWICE, offset, why)
        doubtful = self._history.to_look_at(self._forgets)
        if doubtful:
            await self._look_at(doubtful, end)

    async def _check(self, end: int) -> None:
        """Reads every memory whole: whether it is what was written."""
        async for _, changed in cursor.in_thread(self._reader.check(self._partition)):
            for row in changed:
                if row.offset < end:
                    said = "its text, content or vector is not what was written"
                    self._found(Kind.DAMAGED, row.offset, said, event_id=row.event_id, memory_id=row.id)

    async def _look_at(self, offsets: Collection[int], end: int) -> None:
        """Reads the rows of these offsets once more, and compares their text with what was forgotten by name."""
        without: list[MemoryRow] = []
        async for batch in cursor.in_thread(self._reader.scan(self._partition)):
            for row in batch:
                if row.offset not in offsets or row.outcome is not Outcome.STORED:
                    continue
                covered = _covered(row, self._forgets)
                if covered and row.text is not None:
                    self._text(Kind.TEXT_BACK, row, "something on the log has forgotten it, and its text is there")
                elif not covered and row.text is None and not _may_be_covered(row, self._forgets):
                    without.append(row)
        later = await self._later_forgets(end) if without else Forgets()
        for row in without:
            if not _covered(row, later) and not _may_be_covered(row, later):
                self._text(Kind.TEXT_MISSING, row, "it has no text, and nothing on the log has forgotten it")

    async def _later_forgets(self, start: int) -> Forgets:
        """What records after the end of the walk forget: the store may have done so already."""
        later = Forgets()
        async for page in pages(self._log, self._partition, start=start):
            await self._keyring.prepare(page)
            for record in page:
                later.note(record, self._keyring)
        return later

    async def _sums(self, outcomes: Counter[str], end: int) -> None:
        """Compares the ledger's rows with what its closed tables say they add up to, unless somebody has written meanwhile."""
        said = await asyncio.to_thread(self._reader.outcomes, self._partition)
        last = await asyncio.to_thread(self._reader.last_offset, self._partition)
        if last + 1 == end and said != dict(outcomes):
            self._found(Kind.CONTRADICTION, last, f"the ledger's sums say {said}, its rows {dict(outcomes)}")

    def _text(self, kind: Kind, row: MemoryRow, says: str) -> None:
        self._found(kind, row.offset, says, event_id=row.event_id, memory_id=row.id)


def _covered(row: MemoryRow, forgets: Forgets) -> bool:
    """Whether the row's memory was forgotten; an erased row has the record key in place of its scope."""
    return any(forgets.cover(key, row) for key in _keys(row))


def _may_be_covered(row: MemoryRow, forgets: Forgets) -> bool:
    """Whether the session has a forget that nobody can read any more, and which may have named this row."""
    return not forgets.unread.isdisjoint(_keys(row))


def _keys(row: MemoryRow) -> set[str]:
    scope = row.scope or ""
    return {record_key(scope), *([scope] if row.text is None else [])}


def _compare_window(
    positions: Positions, seen: Sequence[Seen], ledger: Sequence[LedgerRow], rows: Sequence[MemoryRow]
) -> None:  # fmt: skip
    """Offset by offset, in order."""
    on_log = {one.offset: one for one in seen}
    in_ledger, in_store = _by_offset(ledger), _by_offset(rows)
    for offset in sorted(on_log.keys() | in_ledger.keys() | in_store.keys()):
        positions.compare(offset, on_log.get(offset), in_ledger.get(offset, ()), in_store.get(offset, ()))


def _by_offset(things: Sequence[T]) -> dict[int, list[T]]:
    found: dict[int, list[T]] = defaultdict(list)
    for thing in things:
        found[thing.offset].append(thing)
    return found
