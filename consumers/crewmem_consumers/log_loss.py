"""What a replay would lose because the log no longer has it: records that retention or an operator deleted from its start."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crewmem_store.rows import LedgerRow, Outcome
from crewmem_store.store import StoreReader

PAGE = 5_000
_RULES = "crewmem.rules.applied"


@dataclass(frozen=True, slots=True)
class Loss:
    """The records of one partition that a generation was made from and the log no longer has: offsets `first` to `last`.
    `outcomes` says what had become of them, `rules` how many applied rules."""

    partition: int
    first: int
    last: int
    outcomes: Mapping[str, int]
    rules: int

    def __str__(self) -> str:
        what = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        rules = f", {self.rules} of them rules" if self.rules else ""
        return f"offsets {self.first} to {self.last} of partition {self.partition} ({what}{rules})"


async def losses(reader: StoreReader, *, partitions: int, first: Mapping[int, int]) -> list[Loss]:
    """What the generation of `reader` has of offsets below the log's `first` ones, by partition; none that has nothing."""
    return await asyncio.to_thread(
        lambda: [loss for partition in range(partitions) if (loss := _loss(reader, partition, first.get(partition, 0)))]
    )


def memories(lost: list[Loss]) -> int:
    """How many of the lost records made a memory."""
    return sum(loss.outcomes.get(Outcome.STORED, 0) for loss in lost)


def _loss(reader: StoreReader, partition: int, first: int) -> Loss | None:
    entries = list(_below(reader, partition, first))
    if not entries:
        return None
    outcomes = Counter(entry.outcome.value for entry in entries)
    rules = sum(entry.type == _RULES for entry in entries)
    return Loss(partition, entries[0].offset, entries[-1].offset, dict(outcomes), rules)


def _below(reader: StoreReader, partition: int, end: int) -> Iterator[LedgerRow]:
    start = 0
    while start < end and (page := reader.ledger(partition, start=start, limit=min(PAGE, end - start))):
        yield from (entry for entry in page if entry.offset < end)
        start = page[-1].offset + 1
