"""An owner that was paused for longer than versions of its tables are kept writes nothing twice; where a write fell into the
very moment of a clean-up, the partition's owner leaves one row of each id."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import pytest
from crewmem_producers.settings import StoreSettings
from crewmem_store.connect import open_store
from crewmem_store.lance_partition import LancePartition, ledger_prefix, memory_name
from crewmem_store.lance_table import OwnedTable
from crewmem_store.store import PartitionStore, Store
from crewmem_store.updates import Erase, Extend, Forget, SupersedeKey
from store.store_rows import ALICE, BOB, GEN, NOON, PARTITION, entry, marker, memory, owner, put

LATER = NOON + timedelta(days=400)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Store:
    return open_store(StoreSettings(store=str(folder)))


def another(folder: Path) -> PartitionStore:
    """The owner of another process."""
    return owner(open_store(StoreSettings(store=str(folder))))


def tables(part: PartitionStore) -> Sequence[OwnedTable]:
    assert isinstance(part, LancePartition)
    return [part._memory, *part._ledger.tables]


def without_old_versions(part: PartitionStore) -> None:
    """As a clean-up leaves them when the paused owner's version has become too old."""
    for number in range(3):
        put(part, memory(100 + number, scope=BOB), ledger=[entry(100 + number)])
    time.sleep(0.01)
    for table in tables(part):
        table.clean_up(timedelta(milliseconds=1))


def raw(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(lancedb.connect(folder).open_table(name).to_arrow().to_pylist())


def how_often(folder: Path, name: str, key: str) -> set[int]:
    return set(Counter(row[key] for row in raw(folder, name)).values())


def test_what_it_decided_before_it_was_paused_is_there_once(store: Store, folder: Path) -> None:
    rows, entries = [memory(n) for n in range(5, 9)], [entry(n) for n in range(5, 9)]
    paused = owner(store)
    put(paused, memory(1, scope=BOB), ledger=[entry(1)])
    paused.view(scopes={ALICE}, ce_ids=["event-5"])
    new = another(folder)
    put(new, *rows, ledger=entries)
    without_old_versions(new)
    put(paused, *rows, ledger=entries)
    assert how_often(folder, memory_name(GEN, PARTITION), "id") == {1}
    assert how_often(folder, f"{ledger_prefix(GEN, PARTITION)}_0", "offset") == {1}


def test_what_was_forgotten_meanwhile_does_not_come_back_with_its_updates(store: Store, folder: Path) -> None:
    rows = [memory(n, key="k", expires_at=NOON + timedelta(days=n)) for n in range(5, 9)]
    paused = owner(store)
    put(paused, *rows)
    paused.view(scopes={ALICE}, ce_ids=[])
    new = another(folder)
    put(new, updates=[Forget(tuple(row.id for row in rows[:2]))])
    without_old_versions(new)
    put(paused, *rows, updates=[SupersedeKey(ALICE, "k", 8, NOON), Extend(rows[0].id, 8, LATER)])
    found = {row["id"]: row["text"] for row in raw(folder, memory_name(GEN, PARTITION)) if row["offset"] < 100}
    assert how_often(folder, memory_name(GEN, PARTITION), "id") == {1}
    assert [found[row.id] for row in rows] == [None, None, "text 7", "text 8"]


def put_again(folder: Path, name: str, *keys: object, key: str = "id") -> None:
    """Inserts copies of rows, as they were at birth, past every guard."""
    table = lancedb.connect(folder).open_table(name)
    everything = table.to_arrow()
    table.add(everything.filter([value in keys for value in everything.column(key).to_pylist()]))


def twice(folder: Path, part: PartitionStore) -> list[Any]:
    """A table in which every row is there twice: as updates left it, and as it was inserted."""
    rows = [memory(n, key=f"k{n}", expires_at=NOON + timedelta(days=1)) for n in range(5, 9)]
    put(part, *rows, memory(20, scope=BOB))
    born = lancedb.connect(folder).open_table(memory_name(GEN, PARTITION)).to_arrow()
    forgotten, _, extended, _ = rows
    put(part, updates=[
        Forget((forgotten.id,)), SupersedeKey(ALICE, "k6", 30, NOON), Extend(extended.id, 30, LATER),
    ])  # fmt: skip
    lancedb.connect(folder).open_table(memory_name(GEN, PARTITION)).add(born)
    return rows


@pytest.mark.parametrize("how", ["the owner looks again", "the next owner comes"])
def test_of_rows_of_one_id_the_one_stays_on_which_updates_had_their_effect(store: Store, folder: Path, how: str) -> None:
    part = owner(store)
    forgotten, superseded, extended, other = twice(folder, part)
    assert how_often(folder, memory_name(GEN, PARTITION), "id") == {2}
    if how == "the owner looks again":
        part.view(scopes={ALICE}, ce_ids=[])
    else:
        another(folder)
    assert how_often(folder, memory_name(GEN, PARTITION), "id") == {1}
    found = {row["id"]: row for row in raw(folder, memory_name(GEN, PARTITION))}
    assert found[forgotten.id]["text"] is None
    assert found[superseded.id]["superseded_at"] is not None and found[superseded.id]["text"] == "text 6"
    assert found[extended.id]["expires_at"] == LATER
    assert found[other.id]["text"] == "text 8"


def test_a_copy_of_what_was_erased_goes(store: Store, folder: Path) -> None:
    part = owner(store)
    put(part, memory(5))
    born = lancedb.connect(folder).open_table(memory_name(GEN, PARTITION)).to_arrow()
    put(part, marker(9), updates=[Erase(ALICE, 9)])
    lancedb.connect(folder).open_table(memory_name(GEN, PARTITION)).add(born)
    another(folder)
    assert [row["text"] for row in raw(folder, memory_name(GEN, PARTITION))] == [None, None]


def test_an_offset_that_is_in_the_ledger_twice_is_there_once_when_the_next_owner_comes(store: Store, folder: Path) -> None:
    put(owner(store), memory(5), ledger=[entry(5), entry(6)])
    name = f"{ledger_prefix(GEN, PARTITION)}_0"
    put_again(folder, name, 5, key="offset")
    assert how_often(folder, name, "offset") == {1, 2}
    another(folder)
    assert how_often(folder, name, "offset") == {1}
