"""One partition of one generation in LanceDB, as its owner writes it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby

from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.names import record_key

from crewmem_store import effects, lance_filters, purge
from crewmem_store.durability import Durability
from crewmem_store.errors import StoreDamaged
from crewmem_store.files import Files
from crewmem_store.lance_database import Database, TableShape
from crewmem_store.lance_errors import REMEDY
from crewmem_store.lance_ledger import Ledger
from crewmem_store.lance_rows import DECIDED_FROM, MEMORY, memory_rows, memory_schema, memory_table
from crewmem_store.lance_table import OwnedTable
from crewmem_store.lance_view import LanceView
from crewmem_store.lance_writes import AS_ONE, AsOne, pieces
from crewmem_store.maintenance import REST, Maintenance
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import LEDGER_WRITTEN, ROWS_MERGED, UPDATES_APPLIED, Checkpoint, Summary, no_checkpoint
from crewmem_store.updates import Erase, EraseKey, Forget, Update

log = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
PURGE_SECONDS = 10.0
"""A purge that could not be finished is tried again after so long, or after `REST` times what it took."""
LOOK_SECONDS = 60.0
"""So often the owner of a partition into which nothing comes looks whether another one wrote; else with each batch."""


def memory_name(generation: str, partition: int) -> str:
    """The name of a memory table: `mem_g1_p07`."""
    return f"mem_{generation}_p{partition:02d}"


def ledger_prefix(generation: str, partition: int) -> str:
    """How the names of a partition's ledger tables begin: `led_g1_p07`."""
    return f"led_{generation}_p{partition:02d}"


def gone(name: str) -> StoreDamaged:
    """The error of a memory table that is not there though its ledger says what is in it."""
    return StoreDamaged(f"the store is damaged, {name} is gone and its ledger is still there. {REMEDY}")


def memory_shape(dimensions: int) -> TableShape:
    """The memory table's columns, with vectors of so many dimensions."""
    return TableShape(schema=memory_schema(dimensions), key="id", indexed="scope")


class LancePartition:
    """Thread-safe: summaries may be set from another thread than the one that commits.

    `durability` is None on object storage, which is durable by itself. `clock` gives seconds that only go forward.
    """

    def __init__(
        self,
        database: Database,
        *,
        generation: str,
        partition: int,
        dimensions: int,
        durability: Durability | None = None,
        files: Files,
        checkpoint: Checkpoint = no_checkpoint,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._lock = threading.RLock()
        self._checkpoint = checkpoint
        self._clock = clock
        self._maintenance = Maintenance(clock=clock)
        self._shape = memory_shape(dimensions)
        self._files = files
        self._purge_at: float | None = None
        self._purge_rest = clock()
        self._memory = OwnedTable(database, memory_name(generation, partition), self._shape, sleep=sleep)
        self._ledger = Ledger(database, ledger_prefix(generation, partition), sleep=sleep)
        self._durability = durability
        self._durable: dict[str, int] = {}
        self._synced_at = clock() - SYNC_SECONDS
        self._mended_epoch: int | None = None
        self._look_at = clock() + LOOK_SECONDS
        self._strays_at = clock() + purge.STRAY_SECONDS
        with self._lock:
            self._mend_late_writes()
            self._ledger.keep_one_of_each()
            if self._unpurged():
                self._purge_at = clock()
            self._make_durable()

    def last(self) -> LedgerRow | None:
        with self._lock:
            return self._ledger.last()

    def rules(self) -> LedgerRow | None:
        with self._lock:
            return self._ledger.rules()

    def view(self, *, scopes: Collection[str], ce_ids: Collection[str]) -> LanceView:
        values = {value for scope in scopes for value in (scope, record_key(scope))}
        with self._lock:
            self._mend_late_writes()
            found = memory_rows(self._memory.read(DECIDED_FROM, lance_filters.one_of("scope", values)))[0] if values else ()
            return LanceView.of(found, self._ledger.of_events(ce_ids), scopes=scopes, epoch=self._memory.epoch)

    def commit(self, *, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
        with self._lock:
            if rows:
                self._memory.merge(memory_table(rows, self._shape.schema))
            elif updates:
                self._memory.refresh()
            self._checkpoint(ROWS_MERGED)
            for as_one, run in groupby(updates, key=lambda update: AS_ONE.get(type(update))):
                if as_one is not None:
                    self._apply_together(run, as_one)
                else:
                    for update in run:
                        self._apply(update)
            self._checkpoint(UPDATES_APPLIED)
            if ledger:
                self._ledger.write(ledger)
            self._checkpoint(LEDGER_WRITTEN)
            if any(map(effects.is_marker, rows)):
                self._purge_at = max(self._clock(), self._purge_rest)

    def unsummarised(self, *, summariser: str, limit: int) -> list[MemoryRow]:
        where = lance_filters.not_summarised_by(summariser)
        with self._lock:
            self._memory.refresh()
            offsets = sorted(self._memory.read(("offset",), where).column("offset").to_pylist())[:limit]
            if not offsets:
                return []
            oldest = lance_filters.all_of(where, lance_filters.before(offsets[-1] + 1))
            rows, _ = memory_rows(self._memory.read(MEMORY, oldest))
            below = self._erasures()
        rows = [effects.effective(row, below) for row in rows]
        return [row for row in rows if row.text is not None][:limit]

    def summary_backlog(self, *, summariser: str) -> int:
        with self._lock:
            self._memory.refresh()
            return self._memory.count(lance_filters.not_summarised_by(summariser))

    def set_summaries(self, summaries: Sequence[Summary]) -> None:
        for summary in summaries:
            with self._lock:
                self._memory.update(*lance_filters.summary_change(summary))

    def maintain(self) -> None:
        with self._lock:
            self._look_for_late_writes()
            if self._purge_at is not None and self._clock() >= self._purge_at:
                self._purge()
            tables = [self._memory, *self._ledger.tables]
            due = [table for table in tables if self._maintenance.is_due(table, holds_text=table is self._memory)]
            old = [table for table in tables if self._maintenance.has_old_versions(table)]
            if self._memory in due:
                self._erase_again()
            for table in due:
                self._maintenance.compact(table, holds_text=table is self._memory)
            for table in old:
                self._maintenance.settle(table)
            if due or old or self._clock() >= self._synced_at + SYNC_SECONDS:
                self._make_durable()  # before a clean-up, which must leave the version that the note names
            for table in old:
                self._maintenance.clean_up(table)

    def close(self) -> None:
        with self._lock:
            self._make_durable()

    def _apply(self, update: Update) -> None:
        if isinstance(update, Forget) and not update.ids:
            return
        if isinstance(update, EraseKey):
            self._memory.refresh()
            for erase in self._late({update.key: update.before_offset}):
                self._apply(erase)
            return
        assert isinstance(update, Forget | Erase)  # the others are written together
        if self._memory.update(*lance_filters.changes(update)):
            self._maintenance.forgot()

    def _apply_together(self, updates: Iterable[Update], as_one: AsOne) -> None:
        for piece in pieces(updates):
            self._memory.update_by(*as_one(piece))

    def _look_for_late_writes(self) -> None:
        """An owner that was paused, and takes itself for the owner still, may write at any time, or be killed as it does."""
        now = self._clock()
        if now >= self._look_at:
            self._mend_late_writes()
            self._ledger.keep_one_of_each()
            self._look_at = now + LOOK_SECONDS
        if now >= self._strays_at:
            self._remove_strays()
            self._strays_at = now + purge.STRAY_SECONDS

    def _mend_late_writes(self) -> None:
        """Looks at the newest version, and if another owner made it: leaves one row of each id (its write may have come in
        the way of a clean-up), the one on which updates have had their effect; and erases what came too late."""
        self._memory.refresh()
        epoch = self._memory.epoch
        if epoch == self._mended_epoch:
            return
        if doubled := self._memory.keep_one(effects.least_text):
            log.warning("another owner's write doubled %d ids of %s: one row of each stays", doubled, self._memory.name)
        self._erase_again()
        self._mended_epoch = epoch

    def _remove_strays(self) -> None:
        """In a partition with erased sessions, files of cut off writes are not left for LanceDB to find after a week."""
        try:
            if self._erasures():
                purge.without_strays(self._memory, self._files, time.time())
        except StoreUnavailable as error:
            log.warning("files of writes that were cut off were not looked for in %s: %s", self._memory.name, error)

    def _erasures(self) -> dict[str, int]:
        """Record key -> offset of its last erasure, for every erased session of the partition."""
        return effects.erasures(memory_rows(self._memory.read(DECIDED_FROM, lance_filters.markers()))[0])

    def _erase_again(self) -> None:
        """Erases what a late writer put below an erasure; then there are files to purge once more."""
        self._memory.refresh()
        below = self._erasures()
        late = self._late(below)
        if late:
            keys = lance_filters.one_of("scope", {record_key(erase.scope) for erase in late})
            self._memory.update(lance_filters.all_of(lance_filters.markers(), keys), {"summary": None})
            self._purge_at = self._clock()
        for erase in late:
            self._apply(erase)

    def _purge(self) -> None:
        """Gets what was erased out of the files, and notes so in the erasures' markers: whoever asked for it looks there.

        One that is interrupted is begun again by the partition's next owner. What cannot be done yet is tried again.
        """
        began = self._clock()
        try:
            self._erase_again()
            markers = self._unpurged()
            left = self._purged() if markers else []
            self._checkpoint(purge.FILES_PURGED)
            if markers and not left:
                self._memory.update(lance_filters.one_of("id", markers), {"summary": effects.PURGED})
                self._checkpoint(purge.NOTED)
        except StoreUnavailable as error:
            left = [str(error)]
        for sentence in left:
            log.warning("what was erased is still in files: %s", sentence)
        ended = self._clock()
        self._purge_rest = ended + REST * (ended - began)
        self._purge_at = max(ended + PURGE_SECONDS, self._purge_rest) if left else None

    def _purged(self) -> list[str]:
        return purge.purge(
            self._memory, self._files, make_durable=self._make_durable, now=time.time(), checkpoint=self._checkpoint
        )

    def _unpurged(self) -> set[str]:
        """The ids of erasures' markers whose sessions may still be in files."""
        return set(self._memory.read(("id",), lance_filters.unpurged_markers())["id"].to_pylist())

    def _late(self, below: Mapping[str, int]) -> list[Erase]:
        """An Erase for each session that has rows below its erasure. `below` is by record key, which does not name the session,
        so the scopes of all older rows are hashed and compared."""
        if not below:
            return []
        oldest: dict[str, int] = {}
        for row in self._memory.read(("scope", "offset"), lance_filters.before(max(below.values()))).to_pylist():
            oldest[row["scope"]] = min(row["offset"], oldest.get(row["scope"], row["offset"]))
        erased = {scope: below.get(record_key(scope), -1) for scope in oldest}
        return [Erase(scope, erased[scope]) for scope, offset in oldest.items() if offset < erased[scope]]

    def _make_durable(self) -> None:
        if self._durability is None:
            return
        versions = {table.name: table.version for table in (self._memory, *self._ledger.tables)}
        if versions != self._durable:
            self._durability.sync(versions, position=self._ledger.position)
            self._durable = versions
        self._synced_at = self._clock()
