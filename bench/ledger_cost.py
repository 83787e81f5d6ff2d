"""What the ledger costs: taking events in with a row for each position of the log, against without.

Two generations side by side over one SQLite log and in one LanceDB store, the same batches in turn. The commits of one leave
the ledger's rows out, and its batches look for no earlier event there: it could never be started again. Once with the real
model, and once with vectors that are all taken over from an older generation: then there is least for the ledger to hide in.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Collection, Sequence
from contextlib import closing
from itertools import count as counting
from pathlib import Path
from typing import Any

from _corpus import events
from _intake import Intake, generation, opened
from _pairs import RATIO_HEAD, Took, lines
from crewmem_consumers.ingestor import MAX_RECORDS
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_keyring
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.connect import open_store
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.embedders import open_embedder
from crewmem_store.generations import Generation
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import PartitionStore, PartitionView
from crewmem_store.updates import Update

GOAL = 1.1
BATCH = MAX_RECORDS
"""What a consumer that has a backlog takes at once, at most."""
MODEL_BATCH = 30
"""What it takes at once with a model on a small machine: about two seconds of work."""


class WithoutLedger:
    """A partition that writes no ledger rows and looks for none."""

    def __init__(self, partition: PartitionStore) -> None:
        self._partition = partition

    def __getattr__(self, name: str) -> Any:
        return getattr(self._partition, name)

    def view(self, *, scopes: Collection[str], ce_ids: Collection[str]) -> PartitionView:
        del ce_ids
        return self._partition.view(scopes=scopes, ce_ids=())

    def commit(self, *, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
        del ledger
        self._partition.commit(rows=rows, updates=updates, ledger=())


class Bench:
    """One log and one store; each generation that is taken in has a number of its own."""

    def __init__(self, settings: ConsumerSettings, log: EventLog, registry: Registry, embedder: Embedder) -> None:
        self._log, self._keyring = log, open_keyring(settings, registry)
        self._store = open_store(settings)
        self._embedder = embedder
        self._numbers = counting(1)

    def close(self) -> None:
        self._store.close()

    async def before(self, count: int) -> Generation:
        """A generation that holds it all, for others to take over from."""
        made = self._generation()
        with closing(self._intake(made, (), ledger=True)) as intake:
            for _ in range(0, count, BATCH):
                await intake.take(BATCH)
        return made

    async def one_round(self, count: int, *, size: int, siblings: Sequence[Generation], turn: int) -> tuple[Took, Took]:
        """Without and with the ledger, each batch by both, the first of them last the next time."""
        made = self._generation(), self._generation()
        without, with_ = (self._intake(one, siblings, ledger=place == 1) for place, one in enumerate(made))
        spent = [Took(), Took()]
        with closing(without), closing(with_):
            for batch in range(turn, turn + -(-count // size)):
                for place, intake in ((0, without), (1, with_)) if batch % 2 else ((1, with_), (0, without)):
                    spent[place] += await intake.take(size)
        for one in made:
            self._store.drop(one.name)
        return spent[0], spent[1]

    def _generation(self) -> Generation:
        return generation(f"g{next(self._numbers)}", self._embedder)

    def _intake(self, made: Generation, siblings: Sequence[Generation], *, ledger: bool) -> Intake:
        parts = {"log": self._log, "keyring": self._keyring, "store": self._store, "embedder": self._embedder}
        return Intake(made, siblings=siblings, wrap=(lambda partition: partition) if ledger else WithoutLedger, **parts)  # type: ignore[arg-type]


async def measure(embedder: Embedder, *, number: int, count: int, size: int, known: bool) -> list[tuple[Took, Took]]:
    """A pair (without, with) for each round; one more at the start warms and does not count."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as (settings, log, registry):
            await log.append([encode(event) for event in events(count, seed=5)])
            with closing(Bench(settings, log, registry, embedder)) as bench:
                siblings = [await bench.before(count)] if known else []
                for turn in range(number + 1):
                    pair = await bench.one_round(count if turn else size, size=size, siblings=siblings, turn=turn)
                    print(f"round {turn} of {number}: {pair}", file=sys.stderr)
                    found += [pair] if turn else []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    full = parser.parse_args().full
    number, few, many = (10, 600, 20_000) if full else (5, 60, 8_000)
    model = open_embedder("all-MiniLM-L6-v2")
    embedded = asyncio.run(measure(model, number=number, count=few, size=MODEL_BATCH, known=False))
    known = asyncio.run(measure(HashingEmbedder(), number=number, count=many, size=BATCH, known=True))
    print("## What does the ledger cost?\n")
    print(
        f"{number} rounds, each with fresh tables, without and with the ledger in turn after every batch: {few} events (two "
        f"kickoffs of three tasks for each note) by batches of {MODEL_BATCH} with the model, and {many} by batches of {BATCH} "
        f"whose vectors an older generation has. Goal: at most {GOAL} times the time of taking them in without a ledger.\n"
    )
    print(f"| | no ledger, events/s | ledger, events/s | {RATIO_HEAD}\n|---|---|---|---|---|---|")
    for title, rounds, count in (("embedded by the model", embedded, few), ("vectors taken over", known, many)):
        print(lines(title, *([pair[place] for pair in rounds] for place in (0, 1)), count=count))


if __name__ == "__main__":
    main()
