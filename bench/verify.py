"""How long `crewmem accounting --verify` takes, and how much memory, against only reading what it compares.

The log is SQLite's and the store LanceDB's. Both are written directly, as a consumer would have left them: one memory an
event, 400 sessions, no model. Each walk is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
from _corpus import START, text
from _intake import generation, opened
from _pairs import Took, Watch
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_keyring
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.names import Scope, memory_id
from crewmem_store.accounting import verify
from crewmem_store.connect import open_store
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome, Vector
from crewmem_store.store import PartitionStore

BATCH = 2_000
SESSIONS = 400
DIMENSIONS = HashingEmbedder().dimensions
SPAN = "content"


async def build(home: Path, count: int) -> None:
    """A log of so many notes, and a generation that has processed all of them."""
    dice, numbers = random.Random(7), np.random.default_rng(7)
    async with opened(home) as (settings, log, _):
        store = open_store(settings)
        with closing(store), closing(store.partition("g1", 0, dimensions=DIMENSIONS)) as partition:
            for start in range(0, count, BATCH):
                made = [note(number, dice) for number in range(start, min(count, start + BATCH))]
                await log.append([encode(event) for event in made])
                records = await read(log, start, len(made))
                vectors = numbers.standard_normal((len(made), DIMENSIONS)).astype(np.float32)
                commit(partition, made, records, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def note(number: int, dice: random.Random) -> Event:
    return Event(
        body=MemoryRemembered(content=text(dice, 2)), scope=Scope.of("default", f"session-{number % SESSIONS}"),
        id=f"note-{number:08d}", time=START + timedelta(seconds=number), source="bench",
    )  # fmt: skip


def commit(partition: PartitionStore, made: list[Event], records: list[LoggedRecord], vectors: Vector) -> None:
    rows, ledger = [], []
    for event, record, vector in zip(made, records, vectors, strict=True):
        assert isinstance(event.body, MemoryRemembered)
        scope = str(event.scope)
        id = memory_id(0, scope, event.id, SPAN)
        rows.append(
            MemoryRow(
                id=id,
                scope=scope,
                event_id=event.id,
                span=SPAN,
                offset=record.offset,
                created_at=event.time,
                content=event.body.content,
                text=event.body.content,
                vector=vector,
            )
        )
        ledger.append(
            LedgerRow(
                offset=record.offset,
                ce_id=event.id,
                type=event.type,
                scope_key=event.key,
                crc=record.crc,
                created_at=event.time,
                outcome=Outcome.STORED,
                rule="explicit",
                memory_ids=(id,),
                spans={SPAN: {"outcome": "stored", "rule": "explicit", "memory_id": id}},
            )
        )
    partition.commit(rows=rows, updates=(), ledger=ledger)
    partition.maintain()


async def read(log: EventLog, start: int, count: int) -> list[LoggedRecord]:
    found: list[LoggedRecord] = []
    while len(found) < count and (page := await log.read(0, start + len(found), limit=count - len(found))):
        found += page
    return found


async def walk(home: Path, *, compare: bool) -> Took:
    """One walk over it all, comparing or only reading."""
    async with opened(home) as (settings, log, registry):
        store = open_store(settings)
        with closing(store):
            reader, watch = store.reader("g1"), Watch()
            if compare:
                made = generation("g1", HashingEmbedder())
                found = await verify(log, reader, made, keyring=open_keyring(settings, registry))
                if not found.closes:
                    raise SystemExit(f"the account does not close: {found.misfits[:3]}")
                return watch.took()
            offset = 0
            while page := await log.read(0, offset):
                offset = page[-1].offset + 1
            offset = 0
            while rows := reader.ledger(0, start=offset, limit=BATCH):
                offset = rows[-1].offset + 1
            for _ in reader.scan(0):
                pass
            return watch.took()


def in_a_process(home: Path, what: str) -> tuple[Took, float]:
    """What a walk took, and the most memory of its process in bytes."""
    out = subprocess.run([sys.executable, __file__, "--walk", what, str(home)], stdout=subprocess.PIPE, check=True).stdout
    found = json.loads(out)
    return Took(found["wall"], found["cpu"]), found["bytes"]


def most_memory() -> int:
    """Of this process, in bytes. Linux hands on what `getrusage` says of it from the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--walk", nargs=2, metavar=("WHAT", "HOME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.walk:
        took = asyncio.run(walk(Path(given.walk[1]), compare=given.walk[0] == "verify"))
        print(json.dumps({"wall": took.wall, "cpu": took.cpu, "bytes": most_memory()}))
        return
    count, number = (1_000_000, 3) if given.full else (50_000, 3)
    found: dict[str, list[tuple[Took, float]]] = {"read": [], "verify": []}
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch()
        asyncio.run(build(Path(folder), count))
        print(f"built: {watch.took()}", file=sys.stderr)
        for turn in range(number):
            for what in ("read", "verify") if turn % 2 else ("verify", "read"):
                found[what].append(in_a_process(Path(folder), what))
                print(f"round {turn + 1} of {number}: {what} {found[what][-1]}", file=sys.stderr)
    print("## How long does `crewmem accounting --verify` take?\n")
    print(
        f"{count:,} events of one memory each in one partition, {number} rounds in turn, each walk in a process of its own. "
        "Reading alone goes through log, ledger and memory rows and compares nothing.\n"
    )
    print("| | events/s (median) | events a CPU second | seconds: least / median / most | most memory, MB |")
    print("|---|---|---|---|---|")
    for title, what in (("reading alone", "read"), ("accounting --verify", "verify")):
        print(line(title, found[what], count))
    ratios = sorted(with_.cpu / without.cpu for (without, _), (with_, _) in zip(found["read"], found["verify"], strict=True))
    print(f"\nCPU seconds with / without comparing: **{np.median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f}).")


def line(title: str, walks: list[tuple[Took, float]], count: int) -> str:
    wall, cpu = sorted(took.wall for took, _ in walks), [took.cpu for took, _ in walks]
    return (
        f"| {title} | {count / np.median(wall):,.0f} | {count / np.median(cpu):,.0f} | "
        f"{wall[0]:.1f} / {np.median(wall):.1f} / {wall[-1]:.1f} | {max(memory for _, memory in walks) / 1e6:,.0f} |"
    )


if __name__ == "__main__":
    main()
