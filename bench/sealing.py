"""What sealing costs: publishing onto the log and taking it in, with a master key against without one.

Both on the SQLite log, in alternating rounds over the same events. The consumer writes to LanceDB and embeds with a hash, not a
model: beside a model the difference would hardly be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _corpus import events
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_producers import master_key
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry, open_sealer
from crewmem_producers.events import Event
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings, load
from crewmem_store.connect import open_store
from crewmem_store.embedder_hashing import HashingEmbedder

GOAL = 1.1
BATCH = 100
SESSIONS = 20
"""As many as `_corpus` makes."""


@dataclass(frozen=True)
class Took:
    """Seconds of one run: on the clock, and of this process on any core."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Round:
    """What was done, with or without a master key."""

    first: Took
    batches: Took
    single: Took
    ingest: Took


@dataclass(frozen=True)
class Rounds:
    plain: list[Round] = field(default_factory=list)
    sealed: list[Round] = field(default_factory=list)


class Watch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def took(self) -> Took:
        return Took(time.perf_counter() - self._wall, time.process_time() - self._cpu)


@asynccontextmanager
async def opened(home: Path, key: str | None) -> AsyncIterator[tuple[ConsumerSettings, EventLog, Registry]]:
    """A fresh log and registry."""
    settings = load(ConsumerSettings, home=home, master_key=key)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    try:
        yield settings, log, registry
    finally:
        await registry.close()
        await log.close()


class Sender:
    """What a service does with events, with or without a sealer."""

    def __init__(self, settings: ConsumerSettings, log: EventLog, registry: Registry) -> None:
        self._log, self._sealer = log, open_sealer(settings, registry)

    async def send(self, made: Sequence[Event], *, size: int) -> Took:
        watch = Watch()
        for start in range(0, len(made), size):
            records = [encode(event) for event in made[start : start + size]]
            await self._log.append(records if self._sealer is None else await self._sealer.seal(records))
        return watch.took()


async def one_round(home: Path, *, sealed: bool, count: int, seed: int) -> Round:
    """Publishing on one fresh log, after every session's key of the day was made, and taking in another."""
    key = master_key.generate() if sealed else None
    async with opened(home / "publish", key) as (settings, log, registry):
        sender = Sender(settings, log, registry)
        first = await sender.send(events(BATCH * 2, seed=seed + 1_000), size=BATCH * 2)
        batches = await sender.send(events(count * 5, seed=seed + 2_000), size=BATCH)
        single = await sender.send(events(count // 2, seed=seed + 3_000), size=1)
    async with opened(home / "ingest", key) as (settings, log, registry):
        await Sender(settings, log, registry).send(events(count, seed=seed), size=BATCH)
        return Round(first, batches, single, await ingest(settings, log, registry, count=count))


async def ingest(settings: ConsumerSettings, log: EventLog, registry: Registry, *, count: int) -> Took:
    store, stop, health = open_store(settings), asyncio.Event(), Health()
    watch = Watch()
    task = asyncio.create_task(
        run(settings, stop=stop, health=health, log=log, registry=registry, store=store, embedder=HashingEmbedder())
    )
    while (status := health.partitions.get(("g1", 0))) is None or status.position != count:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    took = watch.took()
    stop.set()
    await task
    store.close()
    return took


def measure(*, number: int, count: int) -> Rounds:
    found = Rounds()
    for one in range(-1, number):  # the first loads what is loaded once, and does not count
        for sealed in (False, True) if one % 2 else (True, False):
            with tempfile.TemporaryDirectory() as folder:
                took = asyncio.run(one_round(Path(folder), sealed=sealed, count=count, seed=one))
            if one >= 0:
                (found.sealed if sealed else found.plain).append(took)
            print(f"round {one + 1} of {number}: {'sealed' if sealed else 'plain'} {took}", file=sys.stderr)
    return found


def line(title: str, plain: Sequence[float], sealed: Sequence[float], *, count: int) -> str:
    ratios = sorted(with_it / without for with_it, without in zip(sealed, plain, strict=True))
    return (
        f"| {title} | {count / np.median(plain):.0f} | {count / np.median(sealed):.0f} | **{np.median(ratios):.2f}** | "
        f"{ratios[0]:.2f} | {np.percentile(ratios, 95):.2f} |"
    )  # fmt: skip


def lines(title: str, rounds: Rounds, of: Callable[[Round], Took], *, count: int) -> None:
    plain, sealed = [of(one) for one in rounds.plain], [of(one) for one in rounds.sealed]
    print(line(f"{title}, by the clock", [t.wall for t in plain], [t.wall for t in sealed], count=count))
    print(line(f"{title}, by CPU seconds", [t.cpu for t in plain], [t.cpu for t in sealed], count=count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    number, count = (20, 4000) if parser.parse_args().full else (7, 600)
    found = measure(number=number, count=count)
    print("## What does sealing cost?\n")
    print(
        f"{number} alternating rounds, each with fresh SQLite logs and a LanceDB store: {count * 5} events published in "
        f"batches and {count // 2} one by one, over {SESSIONS} sessions whose keys of the day were made before; {count} taken "
        f"in, with a hash instead of an embedding model. Goal: at most {GOAL} times the time without a master key.\n"
    )
    print("| | plain, events/s | sealed, events/s | time with / without (median) | least | p95 |\n|---|---|---|---|---|---|")
    lines(f"publish, {BATCH} at once", found, lambda one: one.batches, count=count * 5)
    lines("publish, one by one", found, lambda one: one.single, count=count // 2)
    lines("ingest", found, lambda one: one.ingest, count=count)
    extra = [with_it.first.wall - without.first.wall for with_it, without in zip(found.sealed, found.plain, strict=True)]
    print(f"\nThe first event of a session and day waits for its key: {np.median(extra) / SESSIONS * 1000:.1f} ms (median).")


if __name__ == "__main__":
    main()
