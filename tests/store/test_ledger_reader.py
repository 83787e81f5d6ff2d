"""Readers of a ledger that begins another table."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewmem_store.lance import LanceStore
from crewmem_store.lance_ledger import LEDGER_SHAPE
from crewmem_store.ledger_reads import SEGMENT_OFFSETS
from store.store_rows import GEN, PARTITION, entry, owner, put

LAST = SEGMENT_OFFSETS - 1


@pytest.fixture
def store(tmp_path: Path) -> LanceStore:
    store = LanceStore(str(tmp_path / "store"))
    store.open(namespace="crewmem")
    return store


def test_a_table_that_has_no_rows_yet_does_not_hide_the_one_before_it(store: LanceStore) -> None:
    """An owner makes the next table a moment before it writes to it, and may be killed in between."""
    put(owner(store), ledger=[entry(LAST - 1), entry(LAST)])
    known = store.reader(GEN)
    assert known.last_offset(PARTITION) == LAST
    store._database.owned("led_g1_p07_1", LEDGER_SHAPE)
    for reader in (known, store.reader(GEN)):
        assert reader.last_offset(PARTITION) == LAST
        assert reader.last_offset(PARTITION) == LAST
    assert store.reader(GEN).outcomes(PARTITION) == {"stored": 2}
    part = owner(store)
    assert part.last() == entry(LAST)
    put(part, ledger=[entry(LAST + 1)])
    assert [reader.last_offset(PARTITION) for reader in (known, store.reader(GEN))] == [LAST + 1, LAST + 1]
    assert store.reader(GEN).outcomes(PARTITION) == {"stored": 3}


def test_tables_without_rows_alone_are_an_empty_ledger(store: LanceStore) -> None:
    store._database.owned("led_g1_p07_0", LEDGER_SHAPE)
    store._database.owned("led_g1_p07_1", LEDGER_SHAPE)
    reader = store.reader(GEN)
    assert [reader.last_offset(PARTITION), reader.last_offset(PARTITION)] == [-1, -1]
    assert owner(store).last() is None


def test_a_reader_goes_on_in_the_next_table(store: LanceStore) -> None:
    part, reader = owner(store), store.reader(GEN)
    assert reader.last_offset(PARTITION) == -1
    for offset in (0, LAST, LAST + 1, LAST + 2, 2 * SEGMENT_OFFSETS):
        put(part, ledger=[entry(offset)])
        assert reader.last_offset(PARTITION) == offset
    assert [row.offset for row in reader.ledger(PARTITION, start=1, limit=3)] == [LAST, LAST + 1, LAST + 2]
