"""What sealing costs: publishing onto the log and taking it in, with a master key against without one.

Two SQLite logs and two LanceDB stores, one of each with a master key, side by side: the same batches in turn. Taking in
embeds with a hash, not a model: beside a model the difference would hardly be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _corpus import events
from _intake import Intake, generation, opened
from _pairs import RATIO_HEAD, Took, Watch, lines
from crewmem_producers import master_key
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_keyring, open_sealer
from crewmem_producers.events import Event
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.connect import open_store
from crewmem_store.embedder_hashing import HashingEmbedder

GOAL = 1.1
BATCH = 100
SESSIONS = 20
"""As many as `_corpus` makes."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one way took: the first event of each session, then publishing in batches and one by one, and taking in."""

    first: Took
    batches: Took
    single: Took
    ingest: Took


class Way:
    """What a service and a consumer do with events, with or without a sealer."""

    def __init__(self, settings: ConsumerSettings, log: EventLog, registry: Registry) -> None:
        self._log, self._sealer = log, open_sealer(settings, registry)
        self._store, embedder = open_store(settings), HashingEmbedder()
        keyring = open_keyring(settings, registry)
        self.intake = Intake(generation("g1", embedder), log=log, keyring=keyring, store=self._store, embedder=embedder)

    def close(self) -> None:
        self.intake.close()
        self._store.close()

    async def send(self, made: Sequence[Event]) -> Took:
        watch = Watch()
        records = [encode(event) for event in made]
        await self._log.append(records if self._sealer is None else await self._sealer.seal(records))
        return watch.took()


async def in_turn(ways: Sequence[Way], made: Sequence[Event], *, size: int) -> list[Took]:
    """Each batch published by each way, the first of them last the next time."""
    spent = [Took()] * len(ways)
    for turn, start in enumerate(range(0, len(made), size)):
        for place in order(turn, len(ways)):
            spent[place] += await ways[place].send(made[start : start + size])
    return spent


async def taken_in(ways: Sequence[Way], batches: int) -> list[Took]:
    spent = [Took()] * len(ways)
    for turn in range(batches):
        for place in order(turn, len(ways)):
            spent[place] += await ways[place].intake.take(BATCH)
    return spent


def order(turn: int, ways: int) -> list[int]:
    return [(turn + place) % ways for place in range(ways)]


async def one_round(home: Path, *, count: int, seed: int) -> list[Round]:
    """Without and with a master key; every session's key of the day is made first."""
    key = master_key.generate()
    async with opened(home / "plain", None) as plain, opened(home / "sealed", key) as sealed:
        ways = [Way(*plain), Way(*sealed)]
        with closing(ways[0]), closing(ways[1]):
            first = await in_turn(ways, events(BATCH * 2, seed=seed + 1_000), size=BATCH * 2)
            batches = await in_turn(ways, events(count, seed=seed + 2_000), size=BATCH)
            single = await in_turn(ways, events(count // 10, seed=seed + 3_000), size=1)
            ingest = await taken_in(ways, count // BATCH)
    return [Round(*took) for took in zip(first, batches, single, ingest, strict=True)]


def measure(*, number: int, count: int) -> list[list[Round]]:
    found = []
    for one in range(-1, number):  # the first loads what is loaded once, and does not count
        with tempfile.TemporaryDirectory() as folder:
            rounds = asyncio.run(one_round(Path(folder), count=count if one >= 0 else BATCH, seed=one))
        if one >= 0:
            found.append(rounds)
        print(f"round {one + 1} of {number}: {rounds}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (20, 5_000) if parser.parse_args().full else (7, 1_000)
    found = measure(number=number, count=count)

    def shown(title: str, of: Callable[[Round], Took], *, count: int) -> None:
        print(lines(title, *([of(rounds[place]) for rounds in found] for place in (0, 1)), count=count))

    print("## What does sealing cost?\n")
    print(
        f"{number} rounds, each with fresh SQLite logs and LanceDB stores, without and with a master key in turn after every "
        f"batch: {count} events published in batches of {BATCH} and {count // 10} one by one, over {SESSIONS} sessions whose "
        f"keys of the day were made before; {count} taken in by batches of {BATCH}, with a hash instead of an embedding model. "
        f"Goal: at most {GOAL} times the time without a master key.\n"
    )
    print(f"| | plain, events/s | sealed, events/s | {RATIO_HEAD}\n|---|---|---|---|---|---|")
    shown(f"publish, {BATCH} at once", lambda one: one.batches, count=count)
    shown("publish, one by one", lambda one: one.single, count=count // 10)
    shown("ingest", lambda one: one.ingest, count=count)
    extra = [sealed.first.wall - plain.first.wall for plain, sealed in found]
    print(f"\nThe first event of a session and day waits for its key: {np.median(extra) / SESSIONS * 1000:.1f} ms (median).")


if __name__ == "__main__":
    main()
