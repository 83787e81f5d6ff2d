"""What LanceDB raises becomes StoreUnavailable, with what it said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers.errors import StoreUnavailable
from crewmem_store import lance_database
from crewmem_store.lance import LanceStore
from crewmem_store.lance_errors import answering
from crewmem_store.lance_table import ATTEMPTS
from store.store_rows import ALICE, BOB, GEN, PARTITION, entry, memory, owner, put


class PanicException(BaseException):
    """As pyo3 raises it: no Exception, and of a class that nobody can import."""


class RustPanic(Exception):
    """As the asynchronous part of it raises it."""


@pytest.fixture
def store(tmp_path: Path) -> LanceStore:
    store = LanceStore(str(tmp_path / "store"), sleep=lambda seconds: None)
    store.open(namespace="crewmem")
    return store


@pytest.mark.parametrize(
    "error",
    [OSError("disk"), RuntimeError("lance error: LanceError(IO): x"), ValueError("invalid magic"), RustPanic("future panicked"),
     PanicException("index out of bounds"), TimeoutError("too slow"), FileNotFoundError(2, "gone")],
)  # fmt: skip
def test_every_failure_of_the_library_is_store_unavailable(error: BaseException) -> None:
    with pytest.raises(StoreUnavailable, match="while reading x") as caught, answering("reading x"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), KeyError("a mistake of ours")])
def test_what_is_no_failure_of_the_library_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), answering("reading x"):
        raise error


def test_only_the_first_line_and_not_all_of_it_is_repeated() -> None:
    with pytest.raises(StoreUnavailable) as caught, answering("reading x"):
        raise RuntimeError("a" * 5_000 + "\nsecond line")
    assert len(str(caught.value)) < 400
    assert "second line" not in str(caught.value)


def test_a_table_that_vanished_under_its_owner_is_unavailable(store: LanceStore, tmp_path: Path) -> None:
    part = owner(store)
    put(part, memory(1), ledger=[entry(1)])
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StoreUnavailable):
        part.view(scopes={ALICE}, ce_ids={"event-1"})
    with pytest.raises(StoreUnavailable):
        put(part, memory(2), ledger=[entry(2)])


def test_files_that_a_reader_cannot_read_are_unavailable(store: LanceStore, tmp_path: Path) -> None:
    put(owner(store), memory(1), ledger=[entry(1)])
    for path in (tmp_path / "store").glob("*/data/*.lance"):
        path.write_bytes(b"")
    reader = LanceStore(str(tmp_path / "store")).reader(GEN)
    with pytest.raises(StoreUnavailable):
        reader.rows({ALICE}, partitions={PARTITION})
    with pytest.raises(StoreUnavailable):
        reader.last_offset(PARTITION)


def test_a_write_that_fails_is_tried_again_at_the_newest_version(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    part = owner(store)
    merge, calls = part._memory._merge, []  # type: ignore[attr-defined]

    def failing(rows: object) -> None:
        calls.append(rows)
        if len(calls) < ATTEMPTS:
            raise RuntimeError("Retryable commit conflict for version 4")
        merge(rows)

    monkeypatch.setattr(part._memory, "_merge", failing)  # type: ignore[attr-defined]
    put(part, memory(1))
    assert len(calls) == ATTEMPTS
    assert [row.offset for row in store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows] == [1]


def test_after_a_commit_that_failed_the_owner_reads_again_what_the_table_holds(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = owner(store)
    put(part, memory(1))
    part.view(scopes={ALICE}, ce_ids=())

    def failing(rows: object) -> None:
        raise RuntimeError("lance error: LanceError(IO): no space left")

    monkeypatch.setattr(part._memory, "_merge", failing)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailable, match="no space left"):
        put(part, memory(2))
    monkeypatch.undo()
    assert [row.offset for row in part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)] == [1]


def test_a_reader_whose_files_were_cleaned_up_reads_once_more(store: LanceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from crewmem_store import lance_reader

    put(owner(store), memory(1))
    read, calls = lance_reader.read, []

    def failing(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            raise StoreUnavailable("the store failed while reading mem_g1_p07: Not found: data/x.lance")
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(lance_reader, "read", failing)
    assert [row.offset for row in store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows] == [1]
    assert len(calls) == 2


def test_a_read_that_had_to_move_to_a_newer_version_takes_what_was_held_from_there_too(
    store: LanceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, other = owner(store), owner(store)
    put(part, memory(1), memory(2, scope=BOB))
    assert len(part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)) == 1
    read, news = lance_database.read, [memory(3)]

    def cleaned_up_meanwhile(*arguments: Any) -> Any:
        if not news:
            return read(*arguments)
        put(other, news.pop())
        raise StoreUnavailable("Not found")

    monkeypatch.setattr(lance_database, "read", cleaned_up_meanwhile)
    view = part.view(scopes={ALICE, BOB}, ce_ids=())
    assert ([row.offset for row in view.rows(ALICE)], [row.offset for row in view.rows(BOB)]) == ([1, 3], [2])
