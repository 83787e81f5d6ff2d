"""An owner knows which event ids its ledger may hold, whoever wrote the rows."""

from __future__ import annotations

from pathlib import Path

from crewmem_producers.settings import StoreSettings
from crewmem_store.connect import open_store
from crewmem_store.seen_ids import RECENT, SeenIds
from crewmem_store.store import PartitionStore, Store
from store.store_rows import DIMENSIONS, GEN, PARTITION, entry


def found(partition: PartitionStore, *ids: str) -> dict[str, list[int]]:
    view = partition.view(scopes=(), ce_ids=ids)
    return {id: [row.offset for row in view.ledger(id)] for id in ids}


def store(tmp_path: Path) -> Store:
    return open_store(StoreSettings(store=str(tmp_path / "store")))


def owner(store: Store) -> PartitionStore:
    return store.partition(GEN, PARTITION, dimensions=DIMENSIONS)


def test_ids_that_were_added_are_found_among_many_others_and_others_are_not() -> None:
    seen = SeenIds()
    added = [f"event-{number}" for number in range(3 * RECENT)]
    for start in range(0, len(added), 500):
        seen.add([*added[start : start + 500], None])
    assert seen.among(added) == added
    assert seen.among(["event-7", "other"]) == ["event-7"]
    assert seen.among([]) == []


def test_rows_of_an_earlier_owner_of_this_one_and_of_one_beside_it_are_all_found(tmp_path: Path) -> None:
    before = owner(store(tmp_path))
    before.commit(rows=(), updates=(), ledger=[entry(0), entry(1)])
    one = owner(store(tmp_path))
    assert found(one, "event-0", "event-2") == {"event-0": [0], "event-2": []}
    one.commit(rows=(), updates=(), ledger=[entry(2)])
    assert found(one, "event-2", "event-3") == {"event-2": [2], "event-3": []}
    before.commit(rows=(), updates=(), ledger=[entry(2), entry(3), entry(4)])
    one.commit(rows=(), updates=(), ledger=[entry(3)])
    assert found(one, "event-3", "event-4", "event-1") == {"event-3": [3], "event-4": [4], "event-1": [1]}
    one.commit(rows=(), updates=(), ledger=[entry(5, ce_id="event-1")])
    assert found(one, "event-1") == {"event-1": [1, 5]}


def test_ids_are_found_after_the_table_was_compacted(tmp_path: Path) -> None:
    one = owner(store(tmp_path))
    for offset in range(70):
        one.commit(rows=(), updates=(), ledger=[entry(offset)])
        one.maintain()
    assert found(one, "event-0", "event-69", "event-70") == {"event-0": [0], "event-69": [69], "event-70": []}
