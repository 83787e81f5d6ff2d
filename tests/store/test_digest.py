"""The digest of a generation: the same for the same memories, whatever their partition and wherever they lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from crewmem_producers.errors import StoreUnavailable
from crewmem_store.digest import ATTEMPTS, Digest, digest
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import MemoryRow
from crewmem_store.store import StoreReader
from crewmem_store.updates import Forget
from store.store_rows import NOON, memory, tombstone
from support.cleaned_up import CleanedUp


def digest_of(*rows: MemoryRow, partitions: int = 1, forgotten: tuple[str, ...] = ()) -> Digest:
    return digest(reader_of(*rows, partitions=partitions, forgotten=forgotten), partitions=partitions)


def reader_of(*rows: MemoryRow, partitions: int = 1, forgotten: tuple[str, ...] = ()) -> StoreReader:
    """Of a store that holds these rows, each in the partition that its id names."""
    store = MemoryStore()
    store.open(namespace="crewmem")
    for partition in range(partitions):
        own = [row for row in rows if row.id.startswith(f"{partition}-")]
        store.partition("g1", partition, dimensions=8).commit(rows=own, updates=[Forget(forgotten)], ledger=[])
    return store.reader("g1")


def row(number: int, *, partition: int = 0) -> MemoryRow:
    return replace(memory(number), id=f"{partition}-{number:032x}")


def test_order_partition_offset_vector_and_summary_do_not_count() -> None:
    elsewhere = [replace(row(n, partition=n % 3), offset=90 - n, vector=None, summary="said otherwise") for n in (3, 1, 2)]
    assert digest_of(row(1), row(2), row(3)) == digest_of(*elsewhere, partitions=3)


def test_what_has_no_text_is_not_in_it() -> None:
    dropped = replace(tombstone(7), id=f"0-{7:032x}")
    assert digest_of(row(1), row(2), dropped, forgotten=(row(2).id,)) == digest_of(row(1))
    assert digest_of(row(1)).rows == 1


def test_a_partition_that_a_clean_up_took_is_read_again_and_not_for_ever() -> None:
    reader = reader_of(row(1), row(2))
    assert digest(CleanedUp(reader, losses=ATTEMPTS - 1), partitions=1) == digest(reader, partitions=1)
    with pytest.raises(StoreUnavailable, match="took it"):
        digest(CleanedUp(reader, losses=ATTEMPTS), partitions=1)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "x"}, {"content": "x"}, {"kind": "x"}, {"key": "x"}, {"scope": "acme/x"}, {"metadata": {"x": 1}},
        {"created_at": NOON + timedelta(microseconds=1)}, {"expires_at": NOON}, {"superseded_at": NOON},
        {"id": f"0-{9:032x}"},
    ],
)  # fmt: skip
def test_whatever_else_is_decided_of_a_memory_counts(change: dict[str, object]) -> None:
    before = replace(row(1), expires_at=None)
    assert digest_of(replace(before, **change)) != digest_of(before)  # type: ignore[arg-type]
