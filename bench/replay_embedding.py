"""A replay to another embedder, for which every text is embedded anew, against the bare embedder over the same strings.

The log is SQLite's and was taken in before, by a generation with another embedder. What is timed is `crewmem replay` from its
first look at the registry until its generation answers, with the real model; the floor embeds exactly the strings that it
embedded, all at once and sorted by length.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _bare import HEAD, lines, measured
from _intake import opened
from _pairs import Took, Watch
from crewmem_consumers.replay import replay
from crewmem_store.connect import open_store
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_hashing import HashingEmbedder
from ingest import consume

GOAL = 0.9


async def moved(home: Path, embedder: Embedder, *, count: int, seed: int) -> Took:
    """The same log into a generation of this embedder."""
    await consume(home, HashingEmbedder(), count=count, seed=seed)
    async with opened(home) as (settings, log, registry):
        store, watch = open_store(settings), Watch()
        done = await replay(settings, move_to=embedder.name, embedder=embedder, log=log, registry=registry, store=store)
        took = watch.took()
        store.close()
        if not done.activated or done.reused:
            raise SystemExit(f"not every text was embedded anew: {done}")
        return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (8, 2000) if parser.parse_args().full else (3, 250)
    rounds = measured(lambda home, embedder, seed: moved(home, embedder, count=count, seed=seed), number=number, name="another")
    print("## How fast is a replay to another embedder, against embedding its texts alone?\n")
    print(
        f"{count} events (two kickoffs of three tasks for each note), {rounds[0].strings} strings embedded, {number} "
        f"alternating rounds, each with a fresh log and store. Goal: a ratio of at least {GOAL}.\n"
    )
    print(f"| | replay, {HEAD}\n{lines(rounds, count=count)}")


if __name__ == "__main__":
    main()
