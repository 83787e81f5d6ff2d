"""An owner of a partition in a process of its own: `python store_process.py FOLDER WORK [ARGUMENT]`.

WORK is one of
  batch [STEP]  commits `batch()`, and kills itself with SIGKILL at that step of the commit
  open NUMBER   opens the partition, stops itself with SIGSTOP as it asks the time for the NUMBERth time; then commits two rows
  race FILE     commits 20 small batches once FILE is there
  bare FILE     the same without the guards of the store (a control: no primary key)
  churn FILE    commits, compacts and removes every old version until FILE is there
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from crewmem_store import maintenance
from crewmem_store.lance import LanceStore
from crewmem_store.lance_library import lancedb
from crewmem_store.lance_rows import memory_schema, memory_table
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.updates import Erase, Extend, Forget, SupersedeFailures, SupersedeKey, Update
from store.store_rows import ALICE, BOB, DIMENSIONS, GEN, NOON, PARTITION, entry, marker, memory, owner, put

RACES, ROWS = 20, 25


def before_batch() -> list[MemoryRow]:
    """What the store holds before `batch`."""
    return [
        memory(0, kind="failure"), memory(1, key="k"), memory(2, expires_at=NOON), memory(3), memory(4, scope=BOB), memory(5),
    ]  # fmt: skip


def batch() -> tuple[list[MemoryRow], list[Update], list[LedgerRow]]:
    """A commit with every kind of update."""
    rows = [memory(10), memory(11, key="k"), memory(12, scope=BOB), marker(13, BOB)]
    old = before_batch()
    updates: list[Update] = [
        SupersedeFailures(ALICE, "t1", 10, NOON), SupersedeKey(ALICE, "k", 11, NOON),
        Extend(old[2].id, 12, NOON + timedelta(days=1)), Forget((old[3].id,)), Erase(BOB, 13),
    ]  # fmt: skip
    return rows, updates, [entry(n) for n in range(10, 14)]


def opened(folder: str, kill_at: str | None = None) -> LanceStore:
    def checkpoint(name: str) -> None:
        if name == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store = LanceStore(folder, checkpoint=checkpoint)
    store.open(namespace="crewmem")
    return store


def open_and_stop(folder: str, number: int) -> None:
    asked = 0

    def clock() -> float:
        nonlocal asked
        asked += 1
        if asked == number:
            os.kill(os.getpid(), signal.SIGSTOP)
        return time.monotonic()

    store = LanceStore(folder, clock=clock)
    store.open(namespace="crewmem")
    put(owner(store), memory(6), memory(7), ledger=[entry(6), entry(7)])


def races() -> list[list[MemoryRow]]:
    return [[memory(n * ROWS + m) for m in range(ROWS)] for n in range(RACES)]


def race(folder: str, go: Path) -> None:
    part = owner(opened(folder))
    _wait_for(go)
    for number, rows in enumerate(races()):
        put(part, *rows, ledger=[entry(row.offset) for row in rows])
        print("committed", number, flush=True)


def bare(folder: str, go: Path) -> None:
    schema = memory_schema(DIMENSIONS)
    table = lancedb.connect(folder).open_table("bare")
    _wait_for(go)
    for rows in races():
        table.merge_insert("id").when_not_matched_insert_all().execute(memory_table(rows, schema))


def make_bare(folder: str) -> None:
    schema = memory_schema(DIMENSIONS)
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    lancedb.connect(folder).create_table("bare", schema=nullable)


def churn(folder: str, stop: Path) -> None:
    maintenance.COMMITS = 2
    part = owner(opened(folder))
    offset = 1000
    while not stop.exists():
        put(part, memory(offset), ledger=[entry(offset)])
        part.maintain()
        for table in (part._memory, *part._ledger.tables):  # type: ignore[attr-defined]
            table.clean_up(timedelta(0))
        offset += 1
    print(offset, flush=True)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 120
    print("ready", flush=True)
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.005)


def main(folder: str, work: str, argument: str = "") -> None:
    if work == "batch":
        rows, updates, ledger = batch()
        part = opened(folder, argument or None).partition(GEN, PARTITION, dimensions=DIMENSIONS)
        part.commit(rows=rows, updates=updates, ledger=ledger)
    elif work == "open":
        open_and_stop(folder, int(argument))
    else:
        {"race": race, "bare": bare, "churn": churn}[work](folder, Path(argument))


if __name__ == "__main__":
    main(*sys.argv[1:])
