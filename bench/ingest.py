"""Events a second through the consumer (SQLite log, real model, LanceDB, no LLM) against the bare embedder.

The floor embeds exactly the strings that the pipeline embedded in the same round, all at once and sorted by length, with the
same model. Rounds of the two alternate.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from _bare import HEAD, lines, measured
from _corpus import events
from _intake import opened
from _pairs import Took, Watch
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_producers.codec import encode
from crewmem_store.connect import open_store
from crewmem_store.embedder import Embedder


async def consume(home: Path, embedder: Embedder, *, count: int, seed: int) -> Took:
    """One fresh log and store: until every event is in the ledger."""
    async with opened(home) as (settings, log, registry):
        await log.append([encode(event) for event in events(count, seed=seed)])
        stop, health, store = asyncio.Event(), Health(), open_store(settings)
        watch = Watch()
        task = asyncio.create_task(
            run(settings, stop=stop, health=health, log=log, registry=registry, store=store, embedder=embedder)
        )
        while (status := health.partitions.get(("g1", 0))) is None or status.position != count:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        took = watch.took()
        stop.set()
        await task
        store.close()
        return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (8, 2000) if parser.parse_args().full else (4, 200)
    rounds = measured(lambda home, embedder, seed: consume(home, embedder, count=count, seed=seed), number=number)
    print("## How many events a second does a consumer take in, against embedding their texts alone?\n")
    print(
        f"{count} events (two kickoffs of three tasks for each note), {rounds[0].strings} strings embedded, "
        f"{number} alternating rounds, each with a fresh log and store; no LLM. A ratio of 1 would be the bare embedder.\n"
    )
    print(f"| | consumer, {HEAD}\n{lines(rounds, count=count)}")


if __name__ == "__main__":
    main()
