"""One generation in LanceDB as recall reads it: always the newest version, and an unchanged table is not read again."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from crewmem_producers.names import Scope, record_key

from crewmem_store import effects, lance_filters
from crewmem_store.errors import StoreDamaged
from crewmem_store.lance_database import Database, read
from crewmem_store.lance_errors import REMEDY
from crewmem_store.lance_partition import gone, ledger_prefix, memory_name
from crewmem_store.lance_rows import (
    CHECKSUM,
    DECIDED_FROM,
    MADE,
    MEMORY,
    WITHOUT_VECTOR,
    changed_rows,
    made,
    memory_rows,
    rows_without_vectors,
    without,
)
from crewmem_store.ledger_reader import LedgerReader
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import SCAN_ROWS, Changed, Made, Rows, Tally
from crewmem_store.version_cache import VersionCache, names_size

log = logging.getLogger(__name__)

T = TypeVar("T")

MET_SECONDS = 600.0
"""For so long what a read met of damage is said: the files may have been put back since."""
_MANY_SCOPES = 200
"""From so many scopes on, a tenant's whole range is read and the rest left out here."""
_ROW_BYTES = 2_000
_PARTITION_DIGITS = 6
_NO_TABLE = object()
_EMPTY = Rows([], np.zeros((0, 0), dtype=np.float32))


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of a memory table: where its rows lie, in order, and which sessions were erased below which offset."""

    table: Any
    offsets: Sequence[int]
    erased_below: dict[str, int]

    @classmethod
    def of(cls, table: Any) -> _Version | None:
        offsets = np.sort(read(table, ("offset",), lance_filters.EVERY_ROW).column("offset").to_numpy())
        return cls(table, offsets.tolist(), _erasures(table, lance_filters.EVERY_ROW))


class LanceReader:
    """Thread-safe. What was read is kept while its table has the same version; what was used last, up to `cache_bytes`."""

    def __init__(self, database: Database, generation: str, *, cache_bytes: int) -> None:
        self._database = database
        self._generation = generation
        self._ledgers: dict[int, LedgerReader] = {}
        self._cache = VersionCache(cache_bytes)
        self._met: dict[int, tuple[float, str]] = {}

    def rows(self, scopes: Collection[str], *, partitions: Collection[int]) -> Rows:
        wanted, places = frozenset(scopes), sorted(set(partitions))
        if not wanted:
            return _EMPTY
        found = [(place, *self._scope_rows(place, wanted)) for place in places]
        found = [(place, version, rows) for place, version, rows in found if rows.rows]
        if len(found) <= 1:
            return found[0][2] if found else _EMPTY
        versions = tuple((place, version) for place, version, _ in found)
        return self._cache.get((wanted, "joined"), versions, lambda: _joined([rows for *_, rows in found]), _size)

    def scopes(self, tenant: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for partition in self._partitions():
            found |= dict.fromkeys(self._tenant_scopes(partition, tenant), partition)
        return found

    def get(self, id: str) -> MemoryRow | None:
        return next(iter(self._find(_partition_of(id), lance_filters.equal("id", id))), None)

    def by_event(self, event_id: str) -> list[MemoryRow]:
        where = lance_filters.equal("event_id", event_id)
        return [row for partition in self._partitions() for row in self._find(partition, where)]

    def duplicates(self, id: str) -> list[MemoryRow]:
        return self._find(_partition_of(id), lance_filters.equal("duplicate_of", id))

    def last_offset(self, partition: int) -> int:
        try:
            return self._ledger(partition).last_offset()
        except StoreDamaged as error:
            self._meet(partition, str(error))
            raise

    def events(self, partition: int, event_ids: Collection[str]) -> list[LedgerRow]:
        return self._ledger(partition).of_events(event_ids)

    def ledger(self, partition: int, *, start: int, limit: int) -> Sequence[LedgerRow]:
        return self._ledger(partition).rows(start=start, limit=limit)

    def ledger_of(self, event_id: str) -> list[tuple[int, LedgerRow]]:
        return [(partition, row) for partition in self._partitions() for row in self._ledger(partition).of_events([event_id])]

    def rules(self, partition: int) -> LedgerRow | None:
        return self._ledger(partition).rules()

    def outcomes(self, partition: int) -> dict[str, int]:
        return self._ledger(partition).outcomes()

    def outcomes_of(self, partition: int, tenant: str) -> dict[str, int]:
        return self._ledger(partition).outcomes_of(tenant)

    def tally(self, partition: int) -> Tally:
        return self._ledger(partition).tally()

    def forgets(self, partition: int, scope_key: str) -> list[LedgerRow]:
        return self._ledger(partition).forgets(scope_key)

    def letters(self, partition: int) -> list[LedgerRow]:
        return self._ledger(partition).letters()

    def made(self, partition: int, *, start: int, end: int) -> list[Made]:
        """Reads the rows before the ledger: it then has the CRC of each row's record, or does not have that record yet.

        Rows that are not what was written are left out: whoever asks makes them again.
        """
        where = lance_filters.with_text(lance_filters.of_offsets(start, end))
        table = self._on(partition, lambda table: read(table, (*MADE, CHECKSUM), where), None)
        if table is None:
            return []
        changed = changed_rows(table)
        if changed:
            log.warning("%s, from offset %d on: nothing is taken over of them", self._changed(partition, len(changed)), start)
        kept = without(table, changed).select([name for name in table.column_names if name != CHECKSUM])
        return made(kept, self._ledger(partition).judged(start=start, end=end))

    def damage(self, partitions: Collection[int]) -> dict[int, str]:
        there = set(self._database.names(f"mem_{self._generation}_p"))
        return {partition: said for partition in partitions if (said := self._damage_of(partition, there)) is not None}

    def check(self, partition: int) -> Iterator[tuple[int, Sequence[Changed]]]:
        self.last_offset(partition)
        version, found = self._on(partition, _Version.of, None), 0
        for first, last in _windows(version.offsets if version else (), SCAN_ROWS):
            assert version is not None
            table = read(version.table, (*MEMORY, CHECKSUM), lance_filters.of_offsets(first, last + 1))
            rows = [table.slice(place, 1).select(Changed._fields).to_pylist()[0] for place in changed_rows(table)]
            found += len(rows)
            yield table.num_rows, [Changed(**row) for row in rows]
        self._met.pop(partition, None)
        if found:
            self._meet(partition, f"{self._changed(partition, found)}. {REMEDY}")

    def scan(self, partition: int) -> Iterator[Sequence[MemoryRow]]:
        version = self._on(partition, _Version.of, None)
        if version is None:
            return
        for first, last in _windows(version.offsets, SCAN_ROWS):
            where = lance_filters.of_offsets(first, last + 1)
            rows = rows_without_vectors(read(version.table, WITHOUT_VECTOR, where))
            yield [effects.effective(row, version.erased_below) for row in rows]

    def _ledger(self, partition: int) -> LedgerReader:
        return self._ledgers.setdefault(
            partition, LedgerReader(self._database, ledger_prefix(self._generation, partition))
        )  # fmt: skip

    def _partitions(self) -> list[int]:
        """Those that have tables: of one whose memory table is gone the ledger is still there."""
        found: set[int] = set()
        for prefix in (f"mem_{self._generation}_p", f"led_{self._generation}_p"):
            found |= {int(name.removeprefix(prefix).partition("_")[0]) for name in self._database.names(prefix)}
        return sorted(found)

    def _on(self, partition: int, work: Callable[[Any], T], default: T) -> T:
        """What `work` makes of the memory table; `default` where nobody has written the partition yet. Raises StoreDamaged
        where somebody has, and the table is gone."""
        name = memory_name(self._generation, partition)
        try:
            found = self._database.at_newest(name, work, cast(T, _NO_TABLE))
            if found is _NO_TABLE and self._ledger(partition).last_offset() >= 0:
                raise gone(name)
        except StoreDamaged as error:
            self._meet(partition, str(error))
            raise
        return default if found is _NO_TABLE else found

    def _damage_of(self, partition: int, there: Collection[str]) -> str | None:
        name = memory_name(self._generation, partition)
        try:
            if name not in there and self._ledger(partition).last_offset() >= 0:
                return str(gone(name))
        except StoreDamaged as error:
            return str(error)
        at, said = self._met.get(partition, (float("-inf"), ""))
        return said if time.monotonic() < at + MET_SECONDS else None

    def _meet(self, partition: int, said: str) -> None:
        self._met[partition] = time.monotonic(), said

    def _changed(self, partition: int, rows: int) -> str:
        return f"rows of {memory_name(self._generation, partition)} that are not what was written: {rows}"

    def _scope_rows(self, partition: int, scopes: frozenset[str]) -> tuple[int, Rows]:
        def work(table: Any) -> tuple[int, Rows]:
            version = int(table.version)
            rows = self._cache.get((partition, scopes), version, lambda: _read_scopes(table, scopes), _size)
            return version, rows

        return self._on(partition, work, (-1, _EMPTY))

    def _tenant_scopes(self, partition: int, tenant: str) -> list[str]:
        def work(table: Any) -> list[str]:
            key = (partition, "scopes of", tenant)
            return self._cache.get(key, int(table.version), lambda: _read_tenant(table, tenant), names_size)

        return self._on(partition, work, [])

    def _find(self, partition: int | None, where: str) -> list[MemoryRow]:
        """The rows that match, as their sessions' erasures leave them; none of no partition."""
        if partition is None:
            return []

        def work(table: Any) -> list[MemoryRow]:
            rows, _ = memory_rows(read(table, MEMORY, where))
            keys = {record_key(row.scope) for row in rows if row.scope is not None}
            below = _erasures(table, lance_filters.one_of("scope", keys)) if keys else {}
            return [effects.effective(row, below) for row in rows]

        return self._on(partition, work, [])


def _partition_of(id: str) -> int | None:
    """The partition that a memory id names; None for what is none."""
    place, dash, _ = id.partition("-")
    return int(place) if dash and place.isdecimal() and len(place) <= _PARTITION_DIGITS else None


def _read_scopes(table: Any, scopes: frozenset[str]) -> Rows:
    """The recallable rows of these scopes, as one version of the table has them."""
    values = scopes | {record_key(scope) for scope in scopes}
    if len(values) <= _MANY_SCOPES:
        where = lance_filters.one_of("scope", values)
    else:
        tenants = {Scope.parse(scope).tenant for scope in scopes}
        where = lance_filters.any_of([lance_filters.of_tenant(tenant) for tenant in tenants])
    rows, matrix = memory_rows(read(table, MEMORY, lance_filters.with_text_or_marker(where)))
    below = effects.erasures(rows)
    places = [
        place
        for place, row in enumerate(rows)
        if row.scope in scopes and row.text is not None and effects.effective(row, below) is row
    ]
    if len(places) == len(rows):
        return Rows(rows, matrix)
    return Rows([rows[place] for place in places], matrix[places])


def _read_tenant(table: Any, tenant: str) -> list[str]:
    """The tenant's scopes that have a recallable row."""
    where = lance_filters.of_tenant(tenant)
    newest: dict[str, int] = {}
    for row in read(table, ("scope", "offset"), lance_filters.with_text(where)).to_pylist():
        newest[row["scope"]] = max(row["offset"], newest.get(row["scope"], -1))
    below = _erasures(table, where)
    return [scope for scope, offset in newest.items() if offset >= below.get(record_key(scope), -1)]


def _erasures(table: Any, where: str) -> dict[str, int]:
    return effects.erasures(memory_rows(read(table, DECIDED_FROM, lance_filters.all_of(where, lance_filters.markers())))[0])


def _windows(offsets: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
    """First and last offset of runs of about so many rows; the rows of one offset stay together."""
    start = 0
    while start < len(offsets):
        last = offsets[min(start + rows, len(offsets)) - 1]
        yield offsets[start], last
        start = bisect_right(offsets, last)


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows([row for part in parts for row in part.rows], np.concatenate([part.matrix for part in parts]))


def _size(rows: Rows) -> int:
    return int(rows.matrix.nbytes) + sum(_ROW_BYTES + 2 * _characters(row) for row in rows.rows)


def _characters(row: MemoryRow) -> int:
    """Of what may be long in a row."""
    texts = (row.content or "", row.text or "", row.summary or "", str(row.metadata) if row.metadata else "")
    return sum(map(len, texts))
