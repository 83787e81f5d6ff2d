"""What was erased leaves the files: data files, old versions, the index, and what an interrupted write left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from crewmem_producers.names import Scope
from crewmem_producers.settings import StoreSettings, load
from crewmem_store import effects, lance_partition, lance_table, purge
from crewmem_store.connect import storage_options
from crewmem_store.lance import LanceStore
from crewmem_store.lance_partition import LancePartition
from crewmem_store.store import WRITES
from crewmem_store.updates import EraseKey
from store.store_rows import BOB, DIMENSIONS, GEN, PARTITION, entry, marker, memory
from support.s3 import s3_server, s3_settings

SECRET = str(Scope.of("acme", "ann-secret"))
TEXT = "a memory that must go"


class Stopped(Exception):
    """The process ends at a step."""


def holding(folder: Path, *words: str) -> list[str]:
    """The files that hold any of the words."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in found if any(word.encode() in path.read_bytes() for word in words)]


def opened(folder: Path, **options: object) -> tuple[LanceStore, LancePartition]:
    store = LanceStore(str(folder), **options)  # type: ignore[arg-type]
    store.open(namespace="crewmem")
    return store, store.partition(GEN, PARTITION, dimensions=DIMENSIONS)


def fill(part: LancePartition) -> None:
    for batch in range(3):
        rows = [memory(10 * batch + n, scope=SECRET if n == 3 else BOB, text=TEXT if n == 3 else "x") for n in range(5)]
        part.commit(rows=rows, updates=[], ledger=[entry(10 * batch)])


def erase(part: LancePartition) -> None:
    part.commit(rows=[marker(100, SECRET)], updates=[EraseKey(Scope.parse(SECRET).key, 100)], ledger=[entry(100)])


def state(store: LanceStore) -> str | None:
    (found,) = store.reader(GEN).by_event("event-100")
    return found.summary


def test_an_erased_session_is_in_no_file_once_its_marker_says_so(tmp_path: Path) -> None:
    store, part = opened(tmp_path)
    fill(part)
    assert holding(tmp_path, TEXT) and holding(tmp_path, "ann-secret"), "a search that finds nothing proves nothing"
    erase(part)
    assert state(store) is None and holding(tmp_path, TEXT), "nulled, and still in the files"
    part.maintain()
    assert state(store) == effects.PURGED
    assert holding(tmp_path, TEXT, "ann-secret") == []
    assert len(store.reader(GEN).rows({BOB}, partitions={PARTITION}).rows) == 12


@pytest.mark.parametrize("step", [*WRITES, *purge.STEPS])
def test_a_purge_that_was_cut_off_is_finished_by_the_next_owner(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(name: str) -> None:
        if name == step and armed:
            raise Stopped

    if step == purge.REWRITTEN:  # as if a file were full
        full, deleted_rows = iter([True]), purge._deleted_rows
        monkeypatch.setattr(purge, "_deleted_rows", lambda *arguments: next(full, False) or deleted_rows(*arguments))
    armed = False
    _, part = opened(tmp_path, checkpoint=stop)
    fill(part)
    armed = True
    with pytest.raises(Stopped):
        erase(part)
        part.maintain()
    store, again = opened(tmp_path)
    assert state(store) == (effects.PURGED if step == purge.NOTED else None)
    again.maintain()
    assert state(store) == effects.PURGED
    assert holding(tmp_path, TEXT, "ann-secret") == []


def test_what_a_late_writer_brings_back_is_purged_again(tmp_path: Path) -> None:
    store, part = opened(tmp_path)
    fill(part)
    erase(part)
    part.maintain()
    part.commit(rows=[memory(50, scope=SECRET, text=TEXT)], updates=[], ledger=[])
    part.close()
    store, again = opened(tmp_path)
    assert state(store) is None, "there is something to do again"
    again.maintain()
    assert state(store) == effects.PURGED
    assert holding(tmp_path, TEXT, "ann-secret") == []


def test_what_a_late_writer_brings_back_while_the_owner_has_nothing_to_do_is_purged_within_a_minute(tmp_path: Path) -> None:
    now = 100.0
    store, paused = opened(tmp_path)
    fill(paused)
    _, part = opened(tmp_path, clock=lambda: now)
    erase(part)
    part.maintain()
    assert state(store) == effects.PURGED
    paused.commit(rows=[memory(50, scope=SECRET, text=TEXT)], updates=[], ledger=[entry(50), entry(51)])
    part.maintain()
    assert holding(tmp_path, TEXT), "a search that finds nothing proves nothing"
    now += lance_partition.LOOK_SECONDS
    part.maintain()
    assert holding(tmp_path, TEXT, "ann-secret") == []
    assert state(store) == effects.PURGED


def test_what_a_late_writer_brings_back_is_purged_after_the_next_batch(tmp_path: Path) -> None:
    store, paused = opened(tmp_path)
    fill(paused)
    _, part = opened(tmp_path)
    erase(part)
    part.maintain()
    paused.commit(rows=[memory(50, scope=SECRET, text=TEXT)], updates=[], ledger=[])
    part.view(scopes={BOB}, ce_ids=[])
    part.maintain()
    assert holding(tmp_path, TEXT, "ann-secret") == []
    assert state(store) == effects.PURGED


@pytest.mark.parametrize("erased", [True, False])
def test_what_a_late_writer_was_killed_over_is_removed_where_something_was_erased(tmp_path: Path, erased: bool) -> None:
    now = 100.0
    _, part = opened(tmp_path, clock=lambda: now)
    fill(part)
    if erased:
        erase(part)
    part.maintain()
    stray = tmp_path / f"mem_{GEN}_p{PARTITION:02d}.lance" / "data" / "0110.lance"
    stray.write_text(TEXT)
    os.utime(stray, (0, time.time() - purge.STRAY_SECONDS - 1))
    part.maintain()
    assert stray.exists(), "it is not looked for all the time"
    now += purge.STRAY_SECONDS
    part.maintain()
    assert stray.exists() is not erased, "where nothing was erased LanceDB removes it after a week"


def test_a_full_file_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LanceDB leaves a file of a million rows alone when few of them are deleted; here, because nothing compacts."""
    monkeypatch.setattr(lance_table.OwnedTable, "settle", lambda self: None)
    store, part = opened(tmp_path)
    fill(part)
    erase(part)
    part.maintain()
    assert state(store) == effects.PURGED
    assert holding(tmp_path, TEXT, "ann-secret") == []
    monkeypatch.setattr(lance_table.OwnedTable, "rewrite", lambda self: None)
    part.commit(
        rows=[memory(150, scope=SECRET, text=TEXT), memory(151, scope=BOB), marker(200, SECRET)],
        updates=[EraseKey(Scope.parse(SECRET).key, 200)], ledger=[],
    )  # fmt: skip
    part.maintain()
    (unfinished,) = store.reader(GEN).by_event("event-200")
    assert unfinished.summary is None, "without that it is not done, and does not say so"


@pytest.mark.parametrize("name", ["data/0110.lance", "_deletions/3-6-5208787384241059725.arrow"])
def test_a_file_of_a_write_that_was_cut_off_is_waited_for_then_removed(tmp_path: Path, name: str) -> None:
    store, part = opened(tmp_path)
    fill(part)
    stray = tmp_path / f"mem_{GEN}_p{PARTITION:02d}.lance" / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_text(TEXT)
    erase(part)
    part.maintain()
    assert state(store) is None and stray.is_file(), "a write may be under way"
    os.utime(stray, (0, time.time() - purge.STRAY_SECONDS - 1))
    _, again = opened(tmp_path)
    again.maintain()
    assert state(store) == effects.PURGED
    assert not stray.exists()


def test_what_only_a_torn_version_names_is_waited_for_then_removed(tmp_path: Path) -> None:
    _, part = opened(tmp_path)
    fill(part)
    table = tmp_path / f"mem_{GEN}_p{PARTITION:02d}.lance"
    before = set((table / "data").iterdir())
    part.commit(rows=[memory(50, scope=SECRET, text=TEXT)], updates=[], ledger=[])
    (stray,) = set((table / "data").iterdir()) - before
    newest = min((table / "_versions").glob("*.manifest"))  # Lance counts down
    newest.write_bytes(newest.read_bytes()[:-16])  # as a power loss leaves it
    store, again = opened(tmp_path)
    assert [path.suffix for path in (table / "_versions").glob("*.torn")] == [".torn"]
    erase(again)
    again.maintain()
    assert state(store) is None and holding(tmp_path, TEXT) == [stray.name], "a write may be under way"
    os.utime(stray, (0, time.time() - purge.STRAY_SECONDS - 1))
    store, again = opened(tmp_path)
    again.maintain()
    assert state(store) == effects.PURGED
    assert holding(tmp_path, TEXT, "ann-secret") == []
    assert list((table / "_versions").glob("*.torn")) == []


def test_a_reader_goes_on_over_a_purge(tmp_path: Path) -> None:
    store, part = opened(tmp_path)
    fill(part)
    reader = store.reader(GEN)
    assert len(reader.rows({BOB}, partitions={PARTITION}).rows) == 12
    erase(part)
    part.maintain()
    assert len(reader.rows({BOB, SECRET}, partitions={PARTITION}).rows) == 12
    part.commit(rows=[memory(300, scope=SECRET)], updates=[], ledger=[])
    assert [row.offset for row in reader.rows({SECRET}, partitions={PARTITION}).rows] == [300]


@pytest.mark.s3
def test_on_s3_too_nothing_is_left_in_any_object(tmp_path: Path) -> None:
    with s3_server(tmp_path) as endpoint:
        settings = load(StoreSettings, **s3_settings(endpoint, "purged"))  # type: ignore[arg-type]
        store = LanceStore(settings.store_uri, storage_options=storage_options(settings))
        store.open(namespace="crewmem")
        part = store.partition(GEN, PARTITION, dimensions=DIMENSIONS)
        fill(part)
        assert holding(tmp_path / "data", TEXT) and holding(tmp_path / "data", "ann-secret")
        erase(part)
        part.maintain()
        assert state(store) == effects.PURGED
        assert holding(tmp_path / "data", TEXT, "ann-secret") == []
        assert len(store.reader(GEN).rows({BOB}, partitions={PARTITION}).rows) == 12
