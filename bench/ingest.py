"""Events a second through the consumer (SQLite log, real model, LanceDB, no LLM) against the bare embedder.

The floor embeds exactly the strings that the pipeline embedded in the same round, all at once and sorted by length, with the
same model. Rounds of the two alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _corpus import events
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.settings import ConsumerSettings, load
from crewmem_store.connect import open_store
from crewmem_store.embedder import Embedder
from crewmem_store.embedders import open_embedder
from crewmem_store.rows import Vector


class Recorder:
    """The embedder, noting what it is asked for."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self.window_tokens, self.fingerprint = embedder.window_tokens, embedder.fingerprint
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vector:
        self.texts += texts
        return self._embedder.embed(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


@dataclass
class Took:
    """Seconds of one run: on the clock, and of this process on any core."""

    wall: float
    cpu: float


@dataclass
class Round:
    strings: int
    consumer: Took
    embedder: Took


async def consume(home: Path, embedder: Embedder, *, count: int, seed: int) -> tuple[Took, list[str]]:
    """One fresh log and store: until every event is in the ledger; and the strings that were embedded."""
    settings = load(ConsumerSettings, home=home)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    await log.append([encode(event) for event in events(count, seed=seed)])
    recorder, stop = Recorder(embedder), asyncio.Event()
    store = open_store(settings)
    health = Health()
    parts = {"log": log, "registry": registry, "store": store, "embedder": recorder}
    wall, cpu = time.perf_counter(), time.process_time()
    task = asyncio.create_task(run(settings, stop=stop, health=health, **parts))
    while (status := health.partitions.get(("g1", 0))) is None or status.position != count:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    took = Took(time.perf_counter() - wall, time.process_time() - cpu)
    stop.set()
    await task
    await registry.close()
    await log.close()
    store.close()
    return took, recorder.texts


def timed(work: Callable[[], object]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


def measure(*, number: int, count: int) -> list[Round]:
    embedder = open_embedder("all-MiniLM-L6-v2")
    embedder.embed(["warm"] * 64)
    found = []
    for one in range(number):
        with tempfile.TemporaryDirectory() as folder:
            took, texts = asyncio.run(consume(Path(folder), embedder, count=count, seed=one))
        floor = timed(lambda texts=texts: embedder.embed(sorted(texts, key=len)))  # type: ignore[misc]
        found.append(Round(len(texts), took, floor))
        print(f"round {one + 1} of {number}: {took} {floor} {len(texts)} strings", file=sys.stderr)
    return found


def line(title: str, rounds: Sequence[Round], *, count: int, of: Callable[[Took], float]) -> str:
    consumer = np.median([count / of(one.consumer) for one in rounds])
    floor = np.median([count / of(one.embedder) for one in rounds])
    ratios = sorted(of(one.embedder) / of(one.consumer) for one in rounds)
    return (
        f"| {title} | {consumer:.1f} | {floor:.1f} | **{np.median(ratios):.2f}** | {ratios[0]:.2f} | "
        f"{np.percentile(ratios, 95):.2f} |"
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (8, 2000) if parser.parse_args().full else (3, 150)
    rounds = measure(number=number, count=count)
    print("## How many events a second does a consumer take in, against embedding their texts alone?\n")
    print(
        f"{count} events (two kickoffs of three tasks for each note), {rounds[0].strings} strings embedded, "
        f"{number} alternating rounds, each with a fresh log and store; no LLM. A ratio of 1 would be the bare embedder.\n"
    )
    print("| | consumer, events/s | bare embedder, events/s | ratio (median) | least | p95 |\n|---|---|---|---|---|---|")
    print(line("by the clock", rounds, count=count, of=lambda took: took.wall))
    print(line("by CPU seconds of the process", rounds, count=count, of=lambda took: took.cpu))


if __name__ == "__main__":
    main()
