"""Memory rows and ledger rows as Arrow tables: the columns that a LanceDB store has."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from crewmem_store.checksum import checksum
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome, Vector
from crewmem_store.store import Judged, Made

_TIME = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = frozenset({"created_at", "expires_at", "superseded_at"})

_MEMORY_COLUMNS: dict[str, Any] = {
    "id": pa.string(), "scope": pa.string(), "crew": pa.string(), "agent_role": pa.string(), "task_key": pa.string(),
    "kind": pa.string(), "content": pa.string(), "text": pa.string(), "summary": pa.string(), "source_hash": pa.string(),
    "vector": None, "created_at": _TIME, "expires_at": _TIME, "importance": pa.float64(), "key": pa.string(),
    "superseded_at": _TIME, "metadata": pa.string(), "event_id": pa.string(), "span": pa.string(), "parent": pa.string(),
    "offset": pa.int64(), "outcome": pa.string(), "duplicate_of": pa.string(), "embedder": pa.string(),
    "summariser": pa.string(), "made_by": pa.string(), "writer": pa.string(),
    "checksum": pa.int64(),
}  # fmt: skip
_LEDGER_COLUMNS: dict[str, Any] = {
    "offset": pa.int64(), "ce_id": pa.string(), "type": pa.string(), "scope_key": pa.string(), "crc": pa.int64(),
    "created_at": _TIME, "outcome": pa.string(), "reason": pa.string(), "rule": pa.string(), "rules_sha256": pa.string(),
    "memory_ids": pa.list_(pa.string()), "spans": pa.string(), "detail": pa.string(),
}  # fmt: skip

CHECKSUM = "checksum"
"""The store's own column, of a row with text: what `checksum.checksum` says of it."""
MEMORY = tuple(name for name in _MEMORY_COLUMNS if name != CHECKSUM)
"""The columns of a `MemoryRow`."""
LEDGER = tuple(_LEDGER_COLUMNS)
NOT_DECIDED_FROM = frozenset({"content", "summary", "metadata", "agent_role", "importance", "summariser", "made_by", "writer"})
DECIDED_FROM = tuple(name for name in MEMORY if name not in NOT_DECIDED_FROM)
"""The columns of a `PartitionView`: what `effects.as_decided_from` leaves."""
MADE = ("id", "offset", "span", "text", "content", "summary", "source_hash", "vector", "embedder", "summariser", "made_by")
"""The columns of `Made`, but for the ledger's."""
JUDGED = ("offset", "crc", "rules_sha256", "spans")
"""Of the ledger, the columns of `Judged`."""
WITHOUT_VECTOR = tuple(name for name in MEMORY if name != "vector")


def memory_schema(dimensions: int) -> pa.Schema:
    """The memory table's columns; `id` is its (unenforced) primary key and therefore not nullable."""
    types = _MEMORY_COLUMNS | {"vector": pa.list_(pa.float32(), dimensions)}
    return _schema(types, key="id")


def ledger_schema() -> pa.Schema:
    """The ledger tables' columns; `offset` is their (unenforced) primary key."""
    return _schema(_LEDGER_COLUMNS, key="offset")


def _schema(types: Mapping[str, Any], *, key: str) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name != key) for name, kind in types.items()])


def memory_table(rows: Sequence[MemoryRow], schema: pa.Schema) -> pa.Table:
    """The rows as Arrow; the first of several with one id, as a merge would insert them all."""
    unique = list({row.id: row for row in reversed(rows)}.values())[::-1]
    columns = _columns(unique, MEMORY)
    columns["vector"] = _vectors([row.vector for row in unique], schema.field("vector").type)
    columns["metadata"] = [_json(row.metadata) for row in unique]
    columns["outcome"] = [row.outcome.value for row in unique]
    columns[CHECKSUM] = [
        None if row.text is None else checksum(row.id, row.text, row.content, row.vector) for row in unique
    ]  # fmt: skip
    return pa.table(columns, schema=schema)


def ledger_table(rows: Sequence[LedgerRow], schema: pa.Schema) -> pa.Table:
    """The rows as Arrow; the first of several with one offset."""
    unique = list({row.offset: row for row in reversed(rows)}.values())[::-1]
    columns = _columns(unique, LEDGER)
    columns["memory_ids"] = [list(row.memory_ids) for row in unique]
    columns["spans"] = [_json(row.spans) for row in unique]
    columns["outcome"] = [row.outcome.value for row in unique]
    return pa.table(columns, schema=schema)


def _columns(rows: Sequence[MemoryRow] | Sequence[LedgerRow], names: tuple[str, ...]) -> dict[str, Any]:
    """The rows' fields of these names, as columns."""
    return dict(zip(names, zip(*map(attrgetter(*names), rows), strict=True), strict=True)) if rows else dict.fromkeys(names, ())


def memory_rows(table: pa.Table) -> tuple[list[MemoryRow], Vector]:
    """The rows in (offset, span, id) order and their vectors, float32 (n, d); a row without a vector has zeros there."""
    table = _in_order(table)
    matrix, present = _matrix(table.column("vector"))
    columns = _memory_columns(table.drop_columns("vector"))
    columns["vector"] = [vector if there else None for vector, there in zip(matrix, present, strict=True)]
    return [MemoryRow(**values) for values in _transposed(columns)], matrix


def made(table: pa.Table, judged: Mapping[int, Judged]) -> list[Made]:
    """What may be taken over of rows with text; `judged` is what the ledger says of the records, by offset."""
    matrix, present = _matrix(table.column("vector"))
    columns = _memory_columns(table.drop_columns("vector"))
    columns["vector"] = [vector if there else None for vector, there in zip(matrix, present, strict=True)]
    columns["judged"] = [judged.get(offset) for offset in columns["offset"]]
    columns.setdefault("made_by", [""] * len(matrix))  # a table that was last opened for writing by an older program
    return list(map(Made, *(columns[field.name] for field in fields(Made))))


def changed_rows(table: pa.Table) -> list[int]:
    """The places of rows whose text, content or vector is not what was written. A row without a checksum has no text, or is
    of a program that made none: nothing is known of it. The table has every column of `MADE`, and CHECKSUM where it has one."""
    if CHECKSUM not in table.column_names:
        return []
    matrix, present = _matrix(table.column("vector"))
    columns = [table.column(name).to_pylist() for name in ("id", "text", "content", CHECKSUM)]
    return [
        place
        for place, (id, text, content, wanted) in enumerate(zip(*columns, strict=True))
        if wanted is not None and wanted != checksum(id, text or "", content, matrix[place] if present[place] else None)
    ]


def without(table: pa.Table, places: Collection[int]) -> pa.Table:
    """The table without the rows at these places."""
    return table.take([place for place in range(table.num_rows) if place not in places]) if places else table


def judged(table: pa.Table) -> dict[int, Judged]:
    """By offset."""
    columns = [_values(table, name) for name in JUDGED]
    return {
        offset: Judged(crc, rules_sha256, _mapping(spans)) for offset, crc, rules_sha256, spans in zip(*columns, strict=True)
    }  # fmt: skip


def rows_without_vectors(table: pa.Table) -> list[MemoryRow]:
    """The rows of a table without the column `vector`, in (offset, span, id) order."""
    return [MemoryRow(**values) for values in _transposed(_memory_columns(_in_order(table)))]


def _in_order(table: pa.Table) -> pa.Table:
    return table.combine_chunks().sort_by([("offset", "ascending"), ("span", "ascending"), ("id", "ascending")])


def _memory_columns(table: pa.Table) -> dict[str, list[Any]]:
    columns = {name: _values(table, name) for name in table.column_names}
    if "outcome" in columns:
        columns["outcome"] = [Outcome(value) for value in columns["outcome"]]
    if "metadata" in columns:
        columns["metadata"] = [_mapping(value) for value in columns["metadata"]]
    for name in ("embedder", "summariser", "made_by"):
        if name in columns:
            columns[name] = [value or "" for value in columns[name]]
    return columns


def ledger_rows(table: pa.Table) -> list[LedgerRow]:
    """The rows by offset."""
    table = table.sort_by("offset")
    columns = {name: _values(table, name) for name in table.column_names}
    columns["outcome"] = [Outcome(value) for value in columns["outcome"]]
    columns["memory_ids"] = [tuple(value or ()) for value in columns["memory_ids"]]
    columns["spans"] = [_mapping(value) for value in columns["spans"]]
    return [LedgerRow(**values) for values in _transposed(columns)]


def _transposed(columns: Mapping[str, list[Any]]) -> Iterable[dict[str, Any]]:
    names = tuple(columns)
    return (dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _values(table: pa.Table, name: str) -> list[Any]:
    column = table.column(name)
    if name not in _TIMES:
        return list(column.to_pylist())
    # Arrow's own conversion of zoned times is ten times slower, and gives another class of UTC.
    return [None if value is None else _EPOCH + value * _MICROSECOND for value in column.cast(pa.int64()).to_pylist()]


def _vectors(vectors: Sequence[Vector | None], kind: Any) -> Any:
    width = kind.list_size
    flat = np.zeros((len(vectors), width), dtype=np.float32)
    for place, vector in enumerate(vectors):
        if vector is not None:
            flat[place] = vector
    missing = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), type=kind, mask=missing)


def _matrix(column: Any) -> tuple[Vector, list[bool]]:
    width = column.type.list_size
    present = column.is_valid().to_pylist()
    matrix = np.zeros((len(present), width), dtype=np.float32)
    if any(present):
        flat = column.drop_null().combine_chunks().flatten().to_numpy(zero_copy_only=False)
        matrix[np.asarray(present, dtype=bool)] = flat.reshape(-1, width)
    return matrix, present


def _json(value: Mapping[str, Any]) -> str | None:
    """None for an empty mapping, so that a forgotten row looks like one that never had any."""
    return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":")) if value else None


def _mapping(value: str | None) -> dict[str, Any]:
    return dict(json.loads(value)) if value else {}
