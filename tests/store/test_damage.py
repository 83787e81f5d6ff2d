"""A store in a folder of which files are gone or were changed: reads and owners say so, and nothing looks empty."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from crewmem_producers.settings import StoreSettings
from crewmem_store.checksum import checksum
from crewmem_store.connect import open_store
from crewmem_store.errors import StoreDamaged
from crewmem_store.lance import LanceStore
from crewmem_store.lance_reader import LanceReader
from crewmem_store.store import Store
from crewmem_store.updates import Erase, Forget
from store.store_rows import ALICE, GEN, PARTITION, entry, marker, memory, owner, put, unit
from support.damage import change_bytes
from support.s3 import s3_server, s3_settings

MEMORY, LEDGER = f"mem_{GEN}_p{PARTITION:02d}.lance", f"led_{GEN}_p{PARTITION:02d}_0.lance"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a store with three memories, each in a data file of its own."""
    store = opened(tmp_path / "store")
    part = owner(store)
    for number in range(3):
        put(part, memory(number), ledger=[entry(number)])
    return tmp_path / "store"


def opened(folder: Path) -> LanceStore:
    store = LanceStore(str(folder), sleep=lambda seconds: None)
    store.open(namespace="crewmem")
    return store


def reader(folder: Path) -> LanceReader:
    return opened(folder).reader(GEN)


def oldest(table: Path) -> Path:
    return min((table / "data").iterdir(), key=lambda path: path.stat().st_mtime)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_a_data_file_that_is_gone_or_cut_short_is_damage_with_its_remedy(folder: Path, harm: Callable[[Path], None]) -> None:
    harm(oldest(folder / MEMORY))
    found = reader(folder)
    with pytest.raises(StoreDamaged, match=rf"{MEMORY.removesuffix('.lance')}.*`crewmem replay`"):
        found.rows([ALICE], partitions=[PARTITION])
    assert list(found.damage([0, PARTITION])) == [PARTITION]
    with pytest.raises(StoreDamaged):
        list(reader(folder).check(PARTITION))
    with pytest.raises(StoreDamaged):
        owner(opened(folder))


READS: list[Callable[[LanceReader], object]] = [
    lambda found: found.rows([ALICE], partitions=[PARTITION]),
    lambda found: found.scopes("acme"),
    lambda found: found.by_event("event-1"),
    lambda found: found.get(memory(1).id),
    lambda found: found.made(PARTITION, start=0, end=3),
    lambda found: list(found.scan(PARTITION)),
    lambda found: list(found.check(PARTITION)),
]


@pytest.mark.parametrize("read", READS)
def test_a_memory_table_that_is_gone_never_reads_as_an_empty_one(folder: Path, read: Callable[[LanceReader], object]) -> None:
    shutil.rmtree(folder / MEMORY)
    with pytest.raises(StoreDamaged, match="mem_g1_p07 is gone"):
        read(reader(folder))


def test_a_memory_table_that_is_gone_is_known_before_anybody_reads(folder: Path) -> None:
    assert reader(folder).damage([0, PARTITION]) == {}
    shutil.rmtree(folder / MEMORY)
    assert list(reader(folder).damage([0, PARTITION])) == [PARTITION]


def test_an_owner_makes_no_empty_table_in_place_of_one_that_is_gone(folder: Path) -> None:
    shutil.rmtree(folder / MEMORY)
    with pytest.raises(StoreDamaged, match="mem_g1_p07 is gone"):
        owner(opened(folder))
    assert not (folder / MEMORY).exists()


def test_a_partition_that_nobody_has_written_is_empty_and_whole(folder: Path) -> None:
    found = reader(folder)
    assert not found.rows([ALICE], partitions=[0]).rows
    assert list(found.check(0)) == []
    assert found.damage([0]) == {}


def test_a_ledger_file_that_is_gone_is_damage(folder: Path) -> None:
    oldest(folder / LEDGER).unlink()
    found = reader(folder)
    with pytest.raises(StoreDamaged, match=r"led_g1_p07_0.*`crewmem replay`"):
        found.last_offset(PARTITION)
    assert list(found.damage([PARTITION])) == [PARTITION]
    with pytest.raises(StoreDamaged):
        list(reader(folder).check(PARTITION))


CHANGES = [(unit(1).tobytes(), unit(2).tobytes()), (b"text 1", b"texd 1"), (b"full content 1", b"full contend 1")]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_vector_text_or_content_that_was_changed_is_found(folder: Path, before: bytes, after: bytes) -> None:
    [(rows, changed)] = reader(folder).check(PARTITION)
    assert (rows, changed) == (3, [])
    change_bytes(folder / MEMORY, before, after)
    found = reader(folder)
    [(rows, changed)] = found.check(PARTITION)
    assert rows == 3 and [row.id for row in changed] == [memory(1).id]
    assert "rows of mem_g1_p07 that are not what was written: 1" in found.damage([PARTITION])[PARTITION]


def test_of_a_memory_that_was_changed_nothing_is_taken_over(folder: Path) -> None:
    change_bytes(folder / MEMORY, unit(1).tobytes(), unit(2).tobytes())
    assert [made.id for made in reader(folder).made(PARTITION, start=0, end=3)] == [memory(0).id, memory(2).id]


def test_what_was_forgotten_leaves_no_checksum(folder: Path) -> None:
    part = owner(opened(folder))
    part.commit(rows=[marker(5)], updates=[Forget((memory(0).id,)), Erase(ALICE, 2)], ledger=[entry(5)])
    import lancedb

    sums = {row["offset"]: row["checksum"] for row in lancedb.connect(folder).open_table("mem_g1_p07").to_arrow().to_pylist()}
    assert sums.keys() == {0, 1, 2, 5} and [offset for offset, one in sums.items() if one is not None] == [2]
    assert [changed for _, changed in reader(folder).check(PARTITION)] == [[]]


def test_a_table_of_a_program_that_made_no_checksums_is_read_and_gets_them_for_what_is_new(folder: Path) -> None:
    import lancedb

    lancedb.connect(folder).open_table("mem_g1_p07").drop_columns(["checksum"])
    assert [changed for _, changed in reader(folder).check(PARTITION)] == [[]]
    put(owner(opened(folder)), memory(3), ledger=[entry(3)])
    change_bytes(folder / MEMORY, unit(3).tobytes(), unit(4).tobytes())
    [(_, changed)] = reader(folder).check(PARTITION)
    assert [row.id for row in changed] == [memory(3).id]


def test_checksums_tell_apart_what_moves_from_one_field_to_the_next() -> None:
    vector = np.ones(4, dtype=np.float32)
    assert checksum("i", "ab", "c", vector) != checksum("i", "a", "bc", vector)
    assert checksum("i", "ab", None, vector) != checksum("i", "ab", None, None)


def lose_a_file(table: Path) -> None:
    oldest(table).unlink()


def cut_a_file(table: Path) -> None:
    cut(oldest(table))


@pytest.mark.s3
@pytest.mark.parametrize("harm", [lose_a_file, cut_a_file, shutil.rmtree])
def test_on_s3_an_object_that_is_gone_or_cut_short_is_damage_too(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    with s3_server(tmp_path) as endpoint:
        settings = StoreSettings(**s3_settings(endpoint, "x"))  # type: ignore[arg-type]

        def opened_there() -> Store:
            return open_store(settings)

        part = owner(opened_there())
        for number in range(3):
            put(part, memory(number), ledger=[entry(number)])
        [table] = (tmp_path / "data").glob(f"**/{MEMORY}")
        harm(table)
        with pytest.raises(StoreDamaged, match=r"mem_g1_p07.*`crewmem replay`"):
            opened_there().reader(GEN).rows([ALICE], partitions=[PARTITION])
        with pytest.raises(StoreDamaged):
            list(opened_there().reader(GEN).check(PARTITION))
        with pytest.raises(StoreDamaged):
            owner(opened_there())
