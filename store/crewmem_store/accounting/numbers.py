"""The account by numbers: for each partition what the log holds, what the ledger says of it, and whether the sum closes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from crewmem_producers.log import EventLog
from crewmem_producers.log_reading import pages
from pydantic import ConfigDict, TypeAdapter, computed_field
from pydantic.dataclasses import dataclass

from crewmem_store import generations, letter_states
from crewmem_store.generations import Generation
from crewmem_store.lag import lag
from crewmem_store.letter_states import LetterState
from crewmem_store.rows import Outcome
from crewmem_store.store import StoreReader, Tally

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class PartitionAccount:
    """One partition of the log, and what one generation made of it. What is said of a field here is what `/docs` says of it."""

    partition: int
    """Its number, from 0."""
    log_start: int
    """The first offset that the log still has."""
    log_end: int
    """The offset that the next record gets."""
    position: int
    """Everything before this offset is processed."""
    processed: int
    """Rows of the ledger."""
    outcomes: Mapping[str, int]
    """How many of them have which outcome."""
    lag: int
    """Offsets that are still to be processed: no error."""
    oldest_unprocessed_seconds: float
    """The age of the first record that is still to be processed; 0 when none is."""
    missing: int
    """Records before `position` without a ledger row."""
    doubled: int
    """Ledger rows too many."""
    lost: int
    """Offsets that the log let go before they were processed."""
    beyond_log: int
    """Ledger rows of records that the log does not have: it was wiped or shortened."""
    before_log: int
    """Ledger rows of records that the log has let go since: accounted for, but they cannot be computed again."""
    dead_letters: Mapping[str, int]
    """How many dead letters are open, redriven, discarded, or processed after all."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def closes(self) -> bool:
        """Whether every record before `position` has exactly one outcome, and every outcome its record."""
        return not (self.missing or self.doubled or self.lost or self.beyond_log)

    def json(self) -> dict[str, Any]:
        """Every field, and `closes`."""
        return dict(_JSON.dump_python(self))


_JSON: TypeAdapter[PartitionAccount] = TypeAdapter(PartitionAccount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One generation, all partitions by number."""

    generation: str
    partitions: tuple[PartitionAccount, ...]

    @property
    def closes(self) -> bool:
        """Whether the account of every partition does."""
        return all(one.closes for one in self.partitions)

    def json(self) -> dict[str, Any]:
        """The generation's name, `closes`, and each partition's account."""
        return {
            "generation": self.generation, "closes": self.closes, "partitions": [one.json() for one in self.partitions]
        }  # fmt: skip


async def account(log: EventLog, reader: StoreReader, generation: Generation, *, now: datetime) -> Account:
    """The account of one generation; right also while consumers write. Raises LogUnavailable, StoreUnavailable,
    PartitionsChanged."""
    generations.check_layout(generation, partitions=log.partitions)
    found = [await _of_partition(log, reader, partition, now=now) for partition in range(generation.partitions)]
    return Account(generation=generation.name, partitions=tuple(found))


async def _of_partition(log: EventLog, reader: StoreReader, partition: int, *, now: datetime) -> PartitionAccount:
    tally = await asyncio.to_thread(reader.tally, partition)  # before the log's ends: it is never ahead of them
    first, end = (await log.first())[partition], (await log.end())[partition]
    offsets = np.unique(tally.offsets)
    position = int(offsets[-1]) + 1 if len(offsets) else first
    missing = [await _records_in(log, partition, start, stop) for start, stop in _gaps(offsets, first)]
    behind = await lag(log, partition, position=max(position, first), end=end, now=now)
    letters = await asyncio.to_thread(_letters, reader, partition, tally)
    return PartitionAccount(
        partition=partition, log_start=first, log_end=end, position=position,
        processed=len(tally.offsets), outcomes=tally.outcomes, lag=behind.records,
        oldest_unprocessed_seconds=behind.oldest_seconds,
        missing=sum(missing), doubled=len(tally.offsets) - len(offsets), lost=max(first - position, 0),
        beyond_log=int((offsets >= end).sum()), before_log=int((offsets < first).sum()), dead_letters=letters,
    )  # fmt: skip


def _gaps(offsets: Offsets, first: int) -> Iterator[tuple[int, int]]:
    """Runs of offsets from `first` on that the ledger leaves out: half-open. A log may leave out offsets too."""
    known = np.concatenate([[first - 1], offsets[offsets >= first]])
    for place in np.flatnonzero(np.diff(known) > 1).tolist():
        yield int(known[place]) + 1, int(known[place + 1])


async def _records_in(log: EventLog, partition: int, start: int, stop: int) -> int:
    """How many records the log has from `start` to before `stop`."""
    return sum([len(page) async for page in pages(log, partition, start=start, end=stop)])


def _letters(reader: StoreReader, partition: int, tally: Tally) -> dict[str, int]:
    """How many dead letters are in which state; every state but `processed` is always there."""
    counts = Counter({LetterState.OPEN: 0, LetterState.REDRIVEN: 0, LetterState.DISCARDED: 0})
    if tally.outcomes.get(Outcome.DEAD_LETTER):
        counts.update(letter_states.of_ledger(reader.letters(partition), partition=partition).values())
    return {state.value: count for state, count in counts.items()}
