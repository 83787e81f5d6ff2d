"""A replay after a change of rules: how many events a second, when vectors are reused?

A log of kickoffs and notes in many interleaved sessions on four partitions becomes a first generation, whose vectors a hash
makes, of the real model's dimensions: a replay takes them over and computes none. Then `crewmem_consumers.replay` builds the
next generation with other rules, over the SQLite log, with LanceDB on disk. Beside it what nobody can avoid: reading and
decoding the log's records, and appending the same Arrow rows to a fresh table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
from _corpus import ROLES, START, text
from crewmem.cli.garbage import look_for_cycles_rarely
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.replay import Replayed
from crewmem_consumers.replay import replay as crewmem_replay
from crewmem_consumers.rules import DEFAULT_RULES, fingerprint
from crewmem_producers.codec import decode, encode
from crewmem_producers.connect import open_registry
from crewmem_producers.events import (
    Body,
    Event,
    KickoffCompleted,
    KickoffError,
    KickoffFailed,
    MemoryForgotten,
    MemoryRemembered,
    RulesApplied,
    SpanRef,
    TaskOutput,
)  # fmt: skip
from crewmem_producers.log import EventLog
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.names import Scope
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings, load
from crewmem_producers.topics import events_topic
from crewmem_store.connect import open_store
from crewmem_store.digest import Digest, digest
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.store import Store

GOAL = 10_000
PARTITIONS = 4
EVENTS_A_SESSION = 25
OPEN_SESSIONS = 500
"""Sessions that go on at the same time, event by event in turn."""
TEXTS = 4_000
RULES = DEFAULT_RULES.replace(
    "rules:\n",
    "rules:\n"
    "  - {name: churn, why: the change, when: \"mentions(text, ['churn shows', 'churn raises'])\", action: drop}\n"
    "  - {name: pilots, why: the change, when: \"search(text, 'pilot [a-z]+ offers')\", action: keep, with: {kind: pilot}}\n",
    1,
)  # fmt: skip
"""Other rules than those of the first generation: they are applied to the log's end, and a replay decides all with them."""


@dataclass(frozen=True)
class Took:
    """Seconds, on the clock and of this process on any core; a replay's vectors; the digest of what was made."""

    events: int
    wall: float
    cpu: float
    embedded: int = 0
    digest: str = ""
    rows: int = 0


class Watch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def took(self, events: int) -> Took:
        return Took(events, time.perf_counter() - self._wall, time.process_time() - self._cpu)


def history(count: int, *, seed: int) -> list[Event]:
    """Half kickoffs of three tasks, else notes, some of which replace others; failures, forgets, and the same event again."""
    dice = random.Random(seed)
    texts = [text(dice, dice.choice((1, 2, 3, 6, 10))) for _ in range(TEXTS)]
    made: list[Event] = []
    for number in range(count):
        if made and dice.random() < 0.02:
            made.append(dice.choice(made))
            continue
        scope = Scope.of("default", f"session-{number // EVENTS_A_SESSION + dice.randrange(OPEN_SESSIONS)}")
        body, scope = _body(dice, texts, scope, made)
        made.append(Event(
            body=body, scope=scope, id=f"replay-{seed}-{number:07d}", time=START + timedelta(seconds=number), source="bench"
        ))  # fmt: skip
    return made


def _body(dice: random.Random, texts: Sequence[str], scope: Scope, made: Sequence[Event]) -> tuple[Body, Scope]:
    chance = dice.random()
    if chance < 0.02 and made:
        named = dice.choice(made)
        assert named.scope is not None
        return MemoryForgotten(spans=[SpanRef(event_id=named.id, span=dice.choice(("content", "task/1")))]), named.scope
    if chance < 0.45:
        key = f"key-{dice.randrange(5)}" if dice.random() < 0.2 else None
        return MemoryRemembered(content=dice.choice(texts), key=key, metadata={"number": dice.randrange(9)}), scope
    tasks = [TaskOutput(index=index, key=f"task-{index}", agent_role=role, raw=_output(dice, texts)) for index, role in ROLE]
    said: dict[str, Any] = {"crew": "bench", "crew_key": "bench", "raw": tasks[-1].raw, "tasks": tasks}
    if chance < 0.48:
        return KickoffFailed(**said, error=KickoffError(type="TimeoutError", message="no answer in 60 s", task_index=1)), scope
    return KickoffCompleted(**said), scope


def _output(dice: random.Random, texts: Sequence[str]) -> str:
    return "I don't know." if dice.random() < 0.1 else dice.choice(texts)


ROLE = tuple(enumerate(ROLES))


class Place:
    """A home with a log of four partitions."""

    def __init__(self, home: Path) -> None:
        self.settings = load(ConsumerSettings, home=home, consumer_port=0)

    @asynccontextmanager
    async def log(self) -> AsyncIterator[EventLog]:
        log = SqliteLog(self.settings.home / "log.sqlite3", topic=events_topic(self.settings.namespace), partitions=PARTITIONS)
        await log.start()
        try:
            yield log
        finally:
            await log.close()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Registry, Store]]:
        registry, store = open_registry(self.settings), open_store(self.settings)
        await registry.start()
        try:
            yield registry, store
        finally:
            await registry.close()
            store.close()

    async def publish(self, events: Sequence[Event]) -> None:
        """In order, without a service and its relays."""
        async with self.log() as log:
            for start in range(0, len(events), 500):
                await log.append([encode(event) for event in events[start : start + 500]])

    async def first_generation(self, count: int) -> Took:
        """Takes everything in with the rules of before."""
        async with self.log() as log, self.opened() as (registry, store):
            health, stop, watch = Health(), asyncio.Event(), Watch()
            task = asyncio.create_task(run(
                self.settings, stop=stop, health=health, log=log, registry=registry, store=store, embedder=HashingEmbedder()
            ))  # fmt: skip
            while sum(status.position or 0 for status in health.partitions.values()) < count:
                await asyncio.wait([task], timeout=0.05)
                if task.done():
                    task.result()
            took = watch.took(count)
            stop.set()
            await task
            return took

    async def change_rules(self) -> None:
        async with self.log() as log:
            body = RulesApplied(rules=RULES, sha256=fingerprint(RULES))
            await log.append([encode(Event(body=body, scope=None), partition=p) for p in range(PARTITIONS)])

    async def replay(self, of: Place) -> Took:
        """Builds a generation here of the log that lies there, by the path of `crewmem replay`."""
        async with of.log() as log, self.opened() as (registry, store):
            watch = Watch()
            done = await crewmem_replay(
                self.settings, activate=False, log=log, registry=registry, store=store, embedder=HashingEmbedder()
            )
            took = watch.took(done.records)
            made = await asyncio.to_thread(_digest, store, done)
            return replace(took, embedded=done.embedded, digest=made.hex, rows=made.rows)


def _digest(store: Store, done: Replayed) -> Digest:
    return digest(store.reader(done.generation), partitions=PARTITIONS)


async def read_and_decoded(place: Place) -> Took:
    """The log's records as events, in one thread."""
    async with place.log() as log:
        watch, count = Watch(), 0
        for partition in range(PARTITIONS):
            at = 0
            while records := await log.read(partition, at):
                for record in records:
                    decode(record)
                count, at = count + len(records), records[-1].offset + 1
        return watch.took(count)


def appended(place: Place, *, generation: str, events: int) -> Took:
    """The generation's rows, written to fresh tables in pieces of 500 and nothing else."""
    source, folder = lancedb.connect(place.settings.home / "store"), place.settings.home / "appended"
    target, names = lancedb.connect(folder), [f"mem_{generation}_p{partition:02d}" for partition in range(PARTITIONS)]
    tables = [(name, source.open_table(name).to_arrow()) for name in names]
    watch = Watch()
    for name, rows in tables:
        table = target.create_table(name, schema=rows.schema)
        for start in range(0, len(rows), 500):
            table.add(rows.slice(start, 500))
    return watch.took(events)


async def made(home: Path, *, count: int, seed: int) -> Place:
    """A log with its first generation, and other rules at its end."""
    place = Place(home)
    await place.publish(history(count, seed=seed))
    took = await place.first_generation(count)
    print(f"first generation: {count / took.cpu:.0f} events a CPU second", file=sys.stderr)
    await place.change_rules()
    return place


def copy(place: Place) -> Place:
    """The same log and generation in another home."""
    home = place.settings.home
    return Place(Path(shutil.copytree(home, home.with_name(f"{home.name}-copy"))))


def in_processes(places: Sequence[Place]) -> list[Took]:
    """A replay in each place, by a process each, at the same time."""
    command = [sys.executable, __file__, "--replay"]
    started = [
        subprocess.Popen([*command, str(place.settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for place in places
    ]
    for process in started:  # it has loaded what it needs
        assert process.stdout is not None
        process.stdout.readline()
    answers = []
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        answers.append(Took(**json.loads(process.communicate()[0])))
        if process.returncode != 0:
            raise SystemExit("a replay failed")
    return answers


def one_process(home: Path) -> None:
    """What `in_processes` starts: as the command `crewmem replay` runs it."""
    look_for_cycles_rarely()
    place = Place(home)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(asyncio.run(place.replay(place)))))


def line(title: str, took: Sequence[Took]) -> str:
    """Rates of one or several processes: all events by the time of the slowest, and by the CPU seconds of all."""
    events, wall, cpu = sum(one.events for one in took), max(one.wall for one in took), sum(one.cpu for one in took)
    return f"| {title} | {events:,} | {events / wall:,.0f} | {events / cpu:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replay is not None:
        one_process(given.replay)
        return
    look_for_cycles_rarely()
    count = 200_000 if given.full else 20_000
    with tempfile.TemporaryDirectory() as folder:
        first, second = (asyncio.run(made(Path(folder) / f"home{n}", count=count // 2, seed=n)) for n in (1, 2))
        read = asyncio.run(read_and_decoded(first))
        alone = in_processes([copy(first)])  # a replay that is there already is only gone on with
        both = in_processes([first, second])
        rows = appended(first, generation="g2", events=alone[0].events)
        anew = asyncio.run(Place(Path(folder) / "anew").replay(first))
    same = "the same as" if len({alone[0].digest, both[0].digest, anew.digest}) == 1 else "NOT the same as"
    print("## How fast is a replay that takes vectors over?\n")
    print(
        f"Two logs of {count // 2:,} events each, half of them kickoffs of three tasks, in {PARTITIONS} partitions and "
        f"{OPEN_SESSIONS} sessions at a time; LanceDB on disk. A first generation has taken them in, a hash for an embedder "
        "(of the real model's 384 dimensions); then rules were changed, and `crewmem_consumers.replay` builds another from the "
        f"log, which takes the vectors over (of texts that are new it computed {alone[0].embedded}). Goal: {GOAL:,} events a "
        f"second on two cores. The digest of the replays, {alone[0].rows:,} memories, is {same} that of a replay into an empty "
        "store.\n"
    )
    print("| | events | events/s | events per CPU second |\n|---|---|---|---|")
    print(line("replay, one process", alone))
    print(line("replay, two processes, a log each", both))
    print(line("the same without anything to take over", [anew]))
    print(line("floor: read and decode the log", [read]))
    print(line("floor: append the same rows to fresh tables", [rows]))


if __name__ == "__main__":
    main()
