"""Several processes at one LanceDB store: real ones, stopped dead at every step of a commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lancedb
import numpy as np
import pytest
from crewmem_store import lance
from crewmem_store.lance import LanceStore
from crewmem_store.rows import MemoryRow
from crewmem_store.store import WRITES, Store
from store.store_rows import ALICE, BOB, GEN, PARTITION, entry, memory, owner, put
from support import store_process
from support.store_process import RACES, ROWS, batch, before_batch, make_bare

TESTS = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait(20)


def begin(processes: list[subprocess.Popen[str]], *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, store_process.__file__, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    processes.append(process)
    return process


def fresh(folder: str) -> Store:
    store = LanceStore(folder)
    store.open(namespace="crewmem")
    return store


def content(folder: str) -> list[tuple[object, ...]]:
    """Every row and ledger row of the partition, vectors as bytes."""
    reader = fresh(folder).reader(GEN)
    ledger = list(reader.ledger(PARTITION, start=0, limit=1000))
    rows = [reader.get(row.id) for row in (*before_batch(), *batch()[0])]
    table = lancedb.connect(folder).open_table("mem_g1_p07")
    assert table.count_rows() == len([row for row in rows if row is not None])
    return [tuple(ledger), *(_values(row) for row in rows if row is not None)]


def _values(row: MemoryRow) -> tuple[object, ...]:
    values = [getattr(row, name) for name in MemoryRow.__dataclass_fields__]
    return tuple(value.tobytes() if isinstance(value, np.ndarray) else str(value) for value in values)


def ids_in(folder: str, name: str) -> list[str]:
    """Of every row of the table."""
    return list(lancedb.connect(folder).open_table(name).search().select(["id"]).to_arrow().column("id").to_pylist())


def race(processes: list[subprocess.Popen[str]], folder: str, work: str, go: Path) -> None:
    """Two processes write the same ids, both from the moment on in which both are ready."""
    racers = [begin(processes, folder, work, str(go)) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    go.touch()
    assert [racer.wait(120) for racer in racers] == [0, 0]


@pytest.mark.parametrize("step", WRITES)
def test_a_commit_that_was_killed_and_is_repeated_leaves_what_an_undisturbed_one_leaves(
    step: str, tmp_path: Path, folder: str, processes: list[subprocess.Popen[str]]
) -> None:
    for place in (folder, str(tmp_path / "undisturbed")):
        put(owner(fresh(place)), *before_batch(), ledger=[entry(n) for n in range(6)])
    killed = begin(processes, folder, "batch", step)
    assert killed.wait(120) == -signal.SIGKILL
    last = owner(fresh(folder)).last()
    assert last is not None
    assert last.offset == (13 if step == "ledger_written" else 5)
    for place in (folder, str(tmp_path / "undisturbed")):
        assert begin(processes, place, "batch").wait(120) == 0
    assert content(folder) == content(str(tmp_path / "undisturbed"))


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_owner_that_is_paused_as_it_opens_a_partition_does_not_hold_up_the_next(
    number: int, folder: str, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance, "LOCK_SECONDS", 0.0)
    put(owner(fresh(folder)), *before_batch(), ledger=[entry(n) for n in range(6)])
    paused = begin(processes, folder, "open", str(number))
    _, status = os.waitpid(paused.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    put(owner(fresh(folder)), memory(6), memory(7), ledger=[entry(6), entry(7)])
    paused.send_signal(signal.SIGCONT)
    assert paused.wait(120) == 0
    ids = ids_in(folder, "mem_g1_p07")
    assert len(ids) == len(set(ids)) == 8
    assert fresh(folder).reader(GEN).outcomes(PARTITION) == {"stored": 8}


def test_two_processes_that_commit_the_same_ids_at_once_leave_no_duplicate(
    tmp_path: Path, folder: str, processes: list[subprocess.Popen[str]]
) -> None:
    race(processes, folder, "race", tmp_path / "go")
    ids = ids_in(folder, "mem_g1_p07")
    assert len(ids) == len(set(ids)) == RACES * ROWS
    assert fresh(folder).reader(GEN).outcomes(PARTITION) == {"stored": RACES * ROWS}


def test_the_same_race_without_a_primary_key_is_caught(
    tmp_path: Path, folder: str, processes: list[subprocess.Popen[str]]
) -> None:
    """The control: this test can see the duplicates that the guards prevent."""
    make_bare(folder)
    race(processes, folder, "bare", tmp_path / "go")
    ids = ids_in(folder, "bare")
    assert len(set(ids)) == RACES * ROWS
    assert len(ids) > len(set(ids))


def test_a_reader_beside_a_writer_that_compacts_and_cleans_up_all_the_time_reads_every_row(
    tmp_path: Path, folder: str, processes: list[subprocess.Popen[str]]
) -> None:
    put(owner(fresh(folder)), *(memory(n) for n in range(20)), memory(20, scope=BOB), ledger=[entry(n) for n in range(21)])
    stop = tmp_path / "stop"
    writer = begin(processes, folder, "churn", str(stop))
    reader = fresh(folder).reader(GEN)
    seen, reads = 20, 0
    while reads < 150 or seen < 30:
        assert writer.poll() is None
        rows = reader.rows({ALICE}, partitions={PARTITION}).rows
        assert len(rows) >= seen, "a row was there and is gone"
        assert [row.offset for row in reader.rows({BOB}, partitions={PARTITION}).rows] == [20]
        assert reader.get(memory(7).id) is not None
        assert reader.last_offset(PARTITION) >= 20
        seen, reads = len(rows), reads + 1
    stop.touch()
    assert writer.wait(120) == 0
    assert writer.stdout is not None
    last = int(writer.stdout.read())
    assert len(reader.rows({ALICE}, partitions={PARTITION}).rows) == 20 + last - 1000
