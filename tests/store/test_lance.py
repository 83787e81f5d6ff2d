"""The store in LanceDB keeps the store contract, in a folder and on object storage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.settings import StoreSettings
from crewmem_store import note
from crewmem_store.connect import open_store, storage_options
from crewmem_store.errors import LayoutTooNew
from crewmem_store.lance import LanceStore
from crewmem_store.store import Store, StoreNote
from store.conformance_store import Reopen, StoreConformance
from store.store_rows import ALICE, entry, memory, owner, put
from support.s3 import s3_server, s3_settings


class TestLanceStoreInAFolder(StoreConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        return lambda: open_store(StoreSettings(store=str(tmp_path / "store")))


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.mark.s3
class TestLanceStoreOnObjectStorage(StoreConformance):
    @pytest.fixture
    def reopen(self, endpoint: str) -> Reopen:
        settings = StoreSettings(**s3_settings(endpoint, uuid.uuid4().hex))  # type: ignore[arg-type]
        return lambda: open_store(settings)


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_unavailable(endpoint: str) -> None:
    settings = StoreSettings(**s3_settings(endpoint, "x") | {"store": "s3://no-such-bucket/x"})  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        open_store(settings)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreSettings(store=str(tmp_path / "store")))


def test_a_store_of_a_newer_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note, "fresh", lambda namespace: StoreNote(namespace, 99))
    settings = StoreSettings(store=str(tmp_path / "store"))
    with pytest.raises(LayoutTooNew, match="update crewmem"):
        open_store(settings)
    monkeypatch.undo()
    with pytest.raises(LayoutTooNew, match="layout 99"):
        open_store(settings)


def test_tables_are_named_after_generation_and_partition(store: Store, tmp_path: Path) -> None:
    put(owner(store), memory(1), ledger=[entry(1)])
    names = {path.name for path in (tmp_path / "store").glob("*.lance")}
    assert names == {"crewmem_note.lance", "mem_g1_p07.lance", "led_g1_p07_0.lance", "led_g1_p07_closed.lance"}


def test_ids_have_a_primary_key_and_no_index_and_scopes_have_one(store: Store, tmp_path: Path) -> None:
    """A BTREE on `id` makes concurrent merges insert twice; without the key they do anyway."""
    owner(store)
    table = store._database.table("mem_g1_p07")  # type: ignore[attr-defined]
    assert [index.columns for index in table.list_indices()] == [["scope"]]
    assert table.schema.field("id").metadata[b"lance-schema:unenforced-primary-key:position"] == b"1"
    assert not table.schema.field("id").nullable


def test_a_read_of_a_scope_uses_the_index(store: Store) -> None:
    from crewmem_store.lance_filters import one_of, with_text_or_marker

    put(owner(store), memory(1))
    table = store._database.table("mem_g1_p07")  # type: ignore[attr-defined]
    table.optimize()
    plan = table.search().where(with_text_or_marker(one_of("scope", {ALICE, "acme/x"}))).explain_plan()
    assert "scope_idx" in plan


def test_an_unchanged_table_is_not_read_again(store: Store) -> None:
    part, reader = owner(store), store.reader("g1")
    put(part, memory(1))
    first = reader.rows({ALICE}, partitions={7})
    assert reader.rows([ALICE], partitions=[7]) is first
    put(part, memory(2))
    assert reader.rows({ALICE}, partitions={7}) is not first


def test_what_readers_keep_is_bounded(tmp_path: Path) -> None:
    store = LanceStore(str(tmp_path / "store"), reader_cache_bytes=10_000)
    store.open(namespace="crewmem")
    put(owner(store), *(memory(n, scope=f"acme/s{n}") for n in range(20)))
    reader = store.reader("g1")
    for n in range(20):
        reader.rows({f"acme/s{n}"}, partitions={7})
    assert 0 < reader._cache._bytes <= 10_000
    assert len(reader._cache._kept) < 6


@pytest.mark.parametrize("field", ["content", "text", "summary", "metadata"])
def test_whatever_is_long_in_a_row_counts_in_what_readers_keep(tmp_path: Path, field: str) -> None:
    store = LanceStore(str(tmp_path / "store"), reader_cache_bytes=60_000)
    store.open(namespace="crewmem")
    value: object = {"note": "x" * 10_000} if field == "metadata" else "x" * 10_000
    put(owner(store), *(memory(n, scope=f"acme/s{n}", **{field: value}) for n in range(8)))
    reader = store.reader("g1")
    for n in range(8):
        reader.rows({f"acme/s{n}"}, partitions={7})
    assert len(reader._cache._kept) == 2


def test_what_readers_keep_of_sessions_that_hold_nothing_is_bounded_too(tmp_path: Path) -> None:
    store = LanceStore(str(tmp_path / "store"), reader_cache_bytes=20_000)
    store.open(namespace="crewmem")
    put(owner(store), memory(0))
    reader = store.reader("g1")
    for n in range(60):
        reader.rows({f"acme/nothing-{n}"}, partitions={7})
        reader.scopes(f"nobody-{n}")
    assert 0 < reader._cache._bytes <= 20_000
    assert len(reader._cache._kept) <= 20
    reader.rows({f"acme/{n}-{'x' * 600}" for n in range(100)}, partitions={7})
    assert len(reader._cache._kept) <= 1, "names are kept with what they stand for"


def test_a_column_that_is_new_since_is_added_by_the_owner(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    from crewmem_store import lance_rows

    put(owner(store), memory(1), ledger=[entry(1)])
    monkeypatch.setitem(lance_rows._MEMORY_COLUMNS, "mood", pa.string())
    owner(store)
    assert "mood" in store._database.table("mem_g1_p07").schema.names  # type: ignore[attr-defined]
    assert [row.offset for row in store.reader("g1").rows({ALICE}, partitions={7}).rows] == [1]


def test_many_scopes_at_once_are_read_by_the_tenants_range(store: Store) -> None:
    names = [f"acme/s{n}" for n in range(250)]
    put(owner(store), *(memory(n, scope=name) for n, name in enumerate(names)), memory(900, scope="acme2/s1"))
    found = store.reader("g1").rows(names[:240], partitions={7}).rows
    assert [row.offset for row in found] == list(range(240))


def test_object_storage_gets_the_settings_that_name_it() -> None:
    settings = StoreSettings(store="s3://b/p", s3_endpoint="http://h:1", s3_access_key="k", s3_secret_key="s")  # type: ignore[arg-type]
    assert storage_options(settings) == {
        "region": "us-east-1", "endpoint": "http://h:1", "aws_virtual_hosted_style_request": "false", "allow_http": "true",
        "aws_access_key_id": "k", "aws_secret_access_key": "s",
    }  # fmt: skip
    assert storage_options(StoreSettings(store="s3://b/p")) == {"region": "us-east-1"}
    assert storage_options(StoreSettings(store="/tmp/x")) == {}
