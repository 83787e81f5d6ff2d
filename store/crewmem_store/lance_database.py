"""One LanceDB database: a folder or an object storage prefix with the tables of every generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from crewmem_producers.errors import StoreUnavailable
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from crewmem_store.lance_errors import already_exists, answering, is_missing_table
from crewmem_store.lance_library import BTree, lancedb

INDEX_CACHE_BYTES, METADATA_CACHE_BYTES = 256 * 2**20, 128 * 2**20
"""LanceDB's own defaults are gigabytes, for every process."""

T = TypeVar("T")

READ_ATTEMPTS = 5
"""How often a read is tried before the store counts as away: a clean-up may take the files of a version that is being read."""

PREPARE_ATTEMPTS = 4

ROW_ID = "_rowid"

PRIMARY_KEY = {
    b"lance-schema:unenforced-primary-key": b"true",
    b"lance-schema:unenforced-primary-key:position": b"1",
}
"""What `set_unenforced_primary_key` writes, as field metadata: in the schema from the table's first version on, so that
no process can merge into a table that has no key yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A table's columns, its primary key, and the column that has a BTREE (None: no index)."""

    schema: pa.Schema
    key: str
    indexed: str | None


class Database:
    """Connects at first use. Every method raises StoreUnavailable when the database does not answer."""

    def __init__(self, uri: str, *, storage_options: Mapping[str, str] | None = None) -> None:
        self.uri = uri
        self.folder = None if "://" in uri else Path(uri).expanduser().absolute()
        """The folder of a local database; None on object storage."""
        self._options = dict(storage_options or {})
        self._connection: Any = None

    def names(self, prefix: str) -> list[str]:
        """The tables whose name starts so, sorted."""
        with answering(f"listing its tables at {self.uri}"):
            connection, names, token = self._connect(), [], None
            while True:
                page = connection.list_tables(page_token=token)
                names += page.tables
                token = page.page_token
                if not token:
                    return sorted(name for name in names if name.startswith(prefix))

    def table(self, name: str) -> Any | None:
        """The table at its newest version, or None when there is none of that name."""
        with answering(f"opening {name}"):
            try:
                table = self._connect().open_table(name)
                if _is_of_zeros(table):
                    raise RuntimeError(f"the newest manifest of {name} is torn")
            except ValueError as error:
                if is_missing_table(error):
                    return None
                raise
            return table

    def opens_at(self, name: str, version: int) -> bool:
        """Whether that version of the table, which must be there, can be opened."""
        table = self.table(name)
        try:
            with answering(f"opening {name} at version {version}"):
                if table is None:
                    return False
                table.checkout(version)
                return not _is_of_zeros(table)
        except StoreUnavailable:
            return False

    def at_newest(self, name: str, work: Callable[[Any], T], default: T) -> T:
        """What `work` makes of the table at its newest version, or `default` when there is no table. It runs again, on a newer
        version, when a clean-up removed files that it was reading."""
        left = READ_ATTEMPTS
        while True:
            table, left = self.table(name), left - 1
            try:
                return default if table is None else work(table)
            except StoreUnavailable:
                if not left:
                    raise

    def create(self, name: str, data: pa.Table) -> bool:
        """Makes a table that holds `data` from its first version on; False when another process was quicker."""
        with answering(f"creating {name}"):
            try:
                self._connect().create_table(name, data)
            except ValueError as error:
                if already_exists(error):
                    return False
                raise
            return True

    def owned(self, name: str, shape: TableShape) -> Any:
        """The table for writing: made when it is not there, with its index, and with columns that are new since. Two owners
        that prepare it at once get in each other's way: who was slower looks again."""
        retrying = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            stop=stop_after_attempt(PREPARE_ATTEMPTS),
            reraise=True,
        )
        return retrying(self._prepared, name, shape)

    def _prepared(self, name: str, shape: TableShape) -> Any:
        table = self.table(name)
        if table is None:
            self.create(name, _keyed(shape).empty_table())
            table = self.table(name)
        with answering(f"preparing {name}"):
            if table is None:
                raise RuntimeError("the table that was just made is gone")
            added = [field for field in shape.schema if field.name not in table.schema.names]
            if added:
                table.add_columns(pa.schema(added))
            if shape.indexed and not any(shape.indexed in index.columns for index in table.list_indices()):
                table.create_index(shape.indexed, config=BTree())
        return table

    def drop(self, name: str) -> None:
        """Harmless when it is not there."""
        with answering(f"removing {name}"):
            try:
                self._connect().drop_table(name)
            except ValueError as error:
                if not is_missing_table(error):
                    raise

    def close(self) -> None:
        """Lets go of the connection; the next call makes another."""
        self._connection = None

    def _connect(self) -> Any:
        if self._connection is None:
            self._connection = lancedb.connect(
                self.folder or self.uri,
                storage_options=self._options or None,
                session=lancedb.Session(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES),
            )
        return self._connection


def read(table: Any, columns: tuple[str, ...], where: str) -> pa.Table:
    """The columns (those that the table has) of the rows that match, in no order."""
    with answering(f"reading {table.name}"):
        there = set(table.schema.names)
        return table.search().where(where).select([name for name in columns if name in there]).to_arrow()


def read_with_row_ids(table: Any, where: str) -> list[dict[str, Any]]:
    """The rows that match, and under ROW_ID where each lies in this version."""
    with answering(f"reading {table.name}"):
        return list(table.search().where(where).with_row_id(True).to_arrow().to_pylist())


def _is_of_zeros(table: Any) -> bool:
    """Whether the manifest of its version holds zeros alone, which reads as a table without columns."""
    return len(table.schema) == 0


def _keyed(shape: TableShape) -> pa.Schema:
    fields = [field.with_metadata(PRIMARY_KEY) if field.name == shape.key else field for field in shape.schema]
    return pa.schema(fields)
