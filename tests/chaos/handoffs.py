"""How long does a hand-off wait while cores are scarce, a generation is built, and one consumer after another is killed?

Two consumer processes on a broker of their own, both generations in each of them, and busy processes that take the cores.
Every second a record is appended, and it is measured when the generation that answers has processed it. Needs KAFKA_HOME and
Java.

python -m chaos.handoffs [--seed N] [--hogs N] [--seconds N] [--kill-seconds N] [--records N] [--partitions N]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaos.fleet import Fleet
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.log import EventLog, Position
from crewmem_producers.names import Scope
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.started import started
from crewmem_producers.topics import ensure_topics
from crewmem_store import generations
from crewmem_store.lance import LanceStore
from support.kafka import BROKER_SETTINGS, Broker

CONSUMERS = 2
SESSIONS = 60
AT_ONCE = 500
PROBE_SECONDS = 1.0
LOOK_SECONDS = 0.25
PREPARED_SECONDS = 240.0


@dataclass
class Probes:
    """Records that somebody waits for: the position of each -> when it was on the log, and then how long that took."""

    waiting: dict[Position, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    def look(self, store: LanceStore) -> None:
        reader = store.reader("g1")
        for partition in {position.partition for position in self.waiting}:
            last = reader.last_offset(partition)
            for position in [one for one in self.waiting if one.partition == partition and one.offset <= last]:
                self.took.append(time.monotonic() - self.waiting.pop(position))

    def seconds(self) -> list[float]:
        """Of all, in order; one that still waits counts with what it has waited."""
        now = time.monotonic()
        return sorted([*self.took, *(now - began for began in self.waiting.values())])


def fact(dice: random.Random, number: int) -> Event:
    words = " ".join(f"word{dice.randrange(4000)}" for _ in range(40))
    return Event(
        body=MemoryRemembered(content=f"fact {number}: {words}."),
        scope=Scope.of("default", f"session-{dice.randrange(SESSIONS)}"), id=f"fact-{number}", source="bench",
    )  # fmt: skip


async def append(log: EventLog, dice: random.Random, count: int) -> None:
    for start in range(0, count, AT_ONCE):
        await log.append([encode(fact(dice, number)) for number in range(start, min(count, start + AT_ONCE))])


async def processed(store: LanceStore, log: EventLog, *, seconds: float) -> None:
    deadline, ends = time.monotonic() + seconds, await log.end()
    while any(store.reader("g1").last_offset(p) < end - 1 for p, end in ends.items()):
        if time.monotonic() > deadline:
            raise TimeoutError("the first generation is not at the log's end")
        await asyncio.sleep(0.5)


async def probe(log: EventLog, store: LanceStore, probes: Probes, dice: random.Random, *, seconds: float) -> None:
    began, number, due = time.monotonic(), 1_000_000, 0.0
    while (now := time.monotonic() - began) < seconds:
        if now >= due:
            number, due = number + 1, due + PROBE_SECONDS
            [position] = await log.append([encode(fact(dice, number))])
            probes.waiting[position] = time.monotonic()
        await asyncio.to_thread(probes.look, store)
        await asyncio.sleep(LOOK_SECONDS)


async def kill(fleet: Fleet, dice: random.Random, every_seconds: float) -> None:
    while every_seconds:
        await asyncio.sleep(every_seconds)
        await fleet.replace(dice.choice(fleet.of("consumer")))


async def build(registry: Registry) -> None:
    """A second generation: both consumers take it up, as during `crewmem replay`."""
    await generations.save(registry, replace(generations.named(registry, "g1"), name="g2", answered=False))


@contextlib.contextmanager
def busy(count: int) -> Any:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


async def run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    broker = Broker(folder / "kafka", properties=BROKER_SETTINGS)
    (folder / "kafka").mkdir()
    await asyncio.to_thread(broker.start)
    own = {
        "kafka_bootstrap": broker.bootstrap, "kafka_partitions": asked.partitions, "namespace": "bench",
        "home": str(folder / "home"), "store": str(folder / "store"),
    }  # fmt: skip
    settings, fleet, dice = ConsumerSettings(**own), Fleet(folder), random.Random(asked.seed)
    store, probes = LanceStore(settings.store_uri), Probes()
    try:
        await ensure_topics(settings)
        for number in range(CONSUMERS):
            fleet.add(f"consumer-{number}", "consume.py", {"settings": own})
        async with started(open_log(settings)) as log, started(open_registry(settings)) as registry:
            await append(log, dice, asked.records)
            fleet.start()
            await processed(store, log, seconds=PREPARED_SECONDS)
            await build(registry)
            with busy(asked.hogs):
                tasks = [asyncio.create_task(fleet.supervise()), asyncio.create_task(kill(fleet, dice, asked.kill_seconds))]
                await probe(log, store, probes, dice, seconds=asked.seconds)
                for task in tasks:
                    task.cancel()
            built = sum(store.reader("g2").last_offset(p) + 1 for p in range(asked.partitions))
            total = sum((await log.end()).values())
    finally:
        fleet.kill_all()
        await asyncio.to_thread(broker.kill)
    took = probes.seconds()
    return {
        "hand-offs": len(took), "still waiting": len(probes.waiting), "p50 s": round(took[len(took) // 2], 1),
        "p90 s": round(took[len(took) * 9 // 10], 1), "longest s": round(took[-1], 1), "built": f"{built} of {total}",
        "kills": sum(process.starts - 1 for process in fleet.of("consumer")), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=6021023)
    parser.add_argument("--hogs", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--kill-seconds", type=float, default=15, help="0: none is killed")
    parser.add_argument("--records", type=int, default=15_000)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        print(json.dumps(asyncio.run(run(asked, folder))))


if __name__ == "__main__":
    main()
