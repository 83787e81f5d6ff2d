"""The ledger of one partition as its owner writes it: a new table every 262,144 offsets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby

from crewmem_store import ledger_reads
from crewmem_store.lance_database import Database, TableShape
from crewmem_store.lance_rows import ledger_schema, ledger_table
from crewmem_store.lance_table import OwnedTable
from crewmem_store.ledger_reads import SEGMENT_OFFSETS, SUMS_SCHEMA, Sums
from crewmem_store.rows import LedgerRow
from crewmem_store.seen_ids import SeenRows

LEDGER_SHAPE = TableShape(schema=ledger_schema(), key="offset", indexed="ce_id")
SUMS_SHAPE = TableShape(schema=SUMS_SCHEMA, key="segment", indexed=None)


def segment_name(prefix: str, segment: int) -> str:
    """The name of one ledger table: `led_g1_p07_0` for the prefix `led_g1_p07`."""
    return f"{prefix}_{segment}"


def sums_name(prefix: str) -> str:
    """The name of the table that holds the sums of closed ledger tables."""
    return f"{prefix}_closed"


def segments(names: Iterable[str], prefix: str) -> list[int]:
    """The numbers of the ledger tables of that prefix (`led_g1_p07`), in order."""
    ends = (name.removeprefix(f"{prefix}_") for name in names if name.startswith(f"{prefix}_"))
    return sorted(int(end) for end in ends if end.isdigit())


class Ledger:
    """Not thread-safe: its partition's lock guards it. Full tables are closed: their sums are kept beside them."""

    def __init__(self, database: Database, prefix: str, *, sleep: Callable[[float], None]) -> None:
        self._database = database
        self._prefix = prefix
        self._sleep = sleep
        self._tables = {number: self._open(number) for number in segments(database.names(f"{prefix}_"), prefix)}
        self._seen: dict[int, SeenRows] = {}
        self._sums_table = OwnedTable(database, sums_name(prefix), SUMS_SHAPE, sleep=sleep)
        self._sums: dict[int, Sums] = ledger_reads.all_sums(self._sums_table.read)
        self._close_full()
        self.position = max((ledger_reads.last_offset(table.read) for table in self._newest_first()[:2]), default=-1)
        """The largest offset that this owner has seen or written, or -1."""

    @property
    def tables(self) -> list[OwnedTable]:
        """Every table, the sums among them."""
        return [self._sums_table, *(table for _, table in sorted(self._tables.items()))]

    def last(self) -> LedgerRow | None:
        """The row with the largest offset, whoever wrote it."""
        self._look_for_new()
        for table in self._newest_first():
            table.refresh()
            offset = ledger_reads.last_offset(table.read)
            if offset >= 0:
                return ledger_reads.row_at(table.read, offset)
        return None

    def rules(self) -> LedgerRow | None:
        """The newest row of a `rules.applied` record that was applied, whoever wrote it."""
        self._look_for_new()
        for table in self._newest_first():
            table.refresh()
            found = ledger_reads.newest_rules(table.read)
            if found is not None:
                return found
        return None

    def of_events(self, ce_ids: Collection[str]) -> list[LedgerRow]:
        """The rows of these events, by offset."""
        found: list[LedgerRow] = []
        if not ce_ids:
            return found
        self._look_for_new()
        for number, table in sorted(self._tables.items()):
            sums = self._sums.get(number)
            if sums is None:
                asked = self._seen.setdefault(number, SeenRows(table)).among(ce_ids)
            else:
                asked = list(ce_ids) if sums.may_hold(ce_ids) else []
            if asked:
                found += ledger_reads.of_events(table.read, asked)
        return found

    def keep_one_of_each(self) -> None:
        """Of offsets that are there twice in tables that are not full: a position's rows are equal, whoever wrote them."""
        for number, table in self._tables.items():
            if number not in self._sums:
                table.refresh()
                table.keep_one(lambda rows: 0)

    def write(self, rows: Sequence[LedgerRow]) -> None:
        """Inserts the rows whose offset is not there."""
        ordered = sorted(rows, key=lambda row: row.offset)
        for number, part in groupby(ordered, key=lambda row: row.offset // SEGMENT_OFFSETS):
            if number not in self._tables:
                self._tables[number] = self._open(number)
            written = list(part)
            self._tables[number].merge(ledger_table(written, LEDGER_SHAPE.schema))
            if number in self._seen:
                self._seen[number].written(written)
            self.position = max(self.position, ordered[-1].offset)
        self._close_full()

    def _open(self, number: int) -> OwnedTable:
        return OwnedTable(self._database, segment_name(self._prefix, number), LEDGER_SHAPE, sleep=self._sleep)

    def _look_for_new(self) -> None:
        """Finds tables that another owner made."""
        if not self._tables:
            numbers = segments(self._database.names(f"{self._prefix}_"), self._prefix)
        else:
            following = max(self._tables) + 1
            there = self._database.table(segment_name(self._prefix, following)) is not None
            numbers = [following] if there else []
        for number in numbers:
            self._tables[number] = self._open(number)

    def _newest_first(self) -> list[OwnedTable]:
        return [table for _, table in sorted(self._tables.items(), reverse=True)]

    def _close_full(self) -> None:
        """Every table but the newest is full: rows come in the log's order."""
        for number in sorted(self._tables)[:-1]:
            if number not in self._sums:
                table = self._tables[number]
                table.refresh()
                self._sums[number] = ledger_reads.add_up(table.read, number)
                self._sums_table.merge(ledger_reads.sums_table(self._sums[number]))
                self._seen.pop(number, None)
