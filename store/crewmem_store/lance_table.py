"""One LanceDB table as its owner writes it: at one version at a time, repeating what another writer got in the way of."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from crewmem_producers.errors import StoreUnavailable
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from crewmem_store import lance_database, lance_filters
from crewmem_store.lance_database import Database, TableShape
from crewmem_store.lance_errors import answering
from crewmem_store.lance_library import BTree

T = TypeVar("T")

ATTEMPTS = 6
_FOR_EVER = timedelta(days=36_500)


class OwnedTable:
    """Not thread-safe: its partition's lock guards it. Every method raises StoreUnavailable.

    LanceDB 0.40 holds a write against what others committed since the version that it began from, as far as their versions
    are still there: where a clean-up has removed them it inserts keys a second time (found with an owner that was paused for
    longer than versions are kept). So each write begins from the newest version. What is left are the milliseconds of the
    write itself: keys that became double in them are found by the owner (`keep_one`) when it sees that another one wrote.
    """

    def __init__(
        self, database: Database, name: str, shape: TableShape, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = name
        self._shape = shape
        self._handle: Any = database.owned(name, shape)
        self._retrying = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            stop=stop_after_attempt(ATTEMPTS),
            before_sleep=self._look_again,
            sleep=sleep,
            reraise=True,
        )
        self.commits_since_optimised = self._fragments()
        self._seen_version = self.version
        self.epoch = 0
        """Another number after everything that another writer did, or may have done."""
        self._single_epoch: int | None = None

    @property
    def version(self) -> int:
        """The version that `read` sees: the newest one at the last `refresh` or write."""
        with answering(f"asking {self.name} for its version"):
            return int(self._handle.version)

    def refresh(self) -> int:
        """Moves to the newest version, whoever wrote it, and returns it."""
        with answering(f"looking for what is new in {self.name}"):
            self._handle.checkout_latest()
        return self._moved(own_writes=0)

    def read(self, columns: tuple[str, ...], where: str) -> pa.Table:
        """Rows of the version that this is at. When a clean-up took its files, of the newest one."""
        return self._retrying(lance_database.read, self._handle, columns, where)

    def count(self, where: str | None = None) -> int:
        """How many rows match (None: how many there are) at the version that this is at."""
        with answering(f"counting rows of {self.name}"):
            return int(self._handle.count_rows(where))

    def merge(self, rows: pa.Table) -> None:
        """Inserts the rows whose key is not there. The rows have each key once."""
        self._write("merging into", lambda: self._merge(rows))

    def update(self, where: str, values: dict[str, Any]) -> int:
        """Sets the columns of the rows that match at commit; returns how many did."""
        return int(self._write("updating", lambda: self._handle.update(where=where, values=values)).rows_updated)

    def update_by(self, where: str, values_sql: dict[str, str]) -> None:
        """The same, each value an expression over the row."""
        self._write("updating", lambda: self._handle.update(where=where, values_sql=values_sql))

    def keep_one(self, choose: Callable[[Sequence[dict[str, Any]]], int]) -> int:
        """Leaves, of each key that several rows have, the row at the place that `choose` says; returns how many keys there
        were. Looks only after another writer's work."""
        epoch = self.epoch
        doubled = [] if epoch == self._single_epoch else self._doubled()
        for key in doubled:
            where = lance_filters.equal(self._shape.key, key)
            rows = self._retrying(lance_database.read_with_row_ids, self._handle, where)
            kept = choose(rows)
            others = [str(row[lance_database.ROW_ID]) for place, row in enumerate(rows) if place != kept]
            with answering(f"leaving one row of each key in {self.name}"):  # in this version: another one has other row ids
                self._handle.delete(lance_filters.all_of(where, f"{lance_database.ROW_ID} IN ({', '.join(others)})"))
            self._moved(own_writes=1)
        self._single_epoch = epoch
        return len(doubled)

    def _doubled(self) -> list[Any]:
        counts = self.read((self._shape.key,), lance_filters.EVERY_ROW).column(0).value_counts()
        several = pc.greater(counts.field("counts"), 1)
        return list(counts.field("values").filter(several).to_pylist())

    def compact(self) -> None:
        """Joins small files and brings the index up to date; every old version stays."""
        with answering(f"optimising {self.name}"):
            self._handle.optimize(cleanup_older_than=_FOR_EVER)
        self.commits_since_optimised = 0
        self.refresh()

    def settle(self) -> None:
        """Compacts until nothing changes any more: new files are joined with each other first, then with indexed ones."""
        for _ in range(3):
            version = self.version
            self.compact()
            if self.version == version:
                return

    def rewrite(self) -> None:
        """Writes every row anew, so that no file has deleted rows any more: a full one is not joined by itself."""
        column = self._shape.schema.names[-1]
        self._write("rewriting", lambda: self._handle.update(where="true", values_sql={column: f"`{column}`"}))

    def reindex(self) -> None:
        """Makes the index anew: until then it keeps values of rows that are gone."""
        if self._shape.indexed is not None:
            with answering(f"indexing {self.name}"):
                self._handle.create_index(self._shape.indexed, config=BTree(), replace=True)
            self.refresh()

    def clean_up(self, older_than: timedelta) -> None:
        """Removes versions that are older, and the files that only they name."""
        with answering(f"cleaning up {self.name}"):
            self._handle.optimize(cleanup_older_than=older_than)
        self.refresh()

    def _merge(self, rows: pa.Table) -> None:
        builder = self._handle.merge_insert(self._shape.key).when_not_matched_insert_all().use_index(False)
        builder.execute(rows, on_bad_vectors="null")

    def _write(self, doing: str, work: Callable[[], T]) -> T:
        def attempt() -> T:
            self.refresh()
            with answering(f"{doing} {self.name}"):
                return work()

        try:
            done = self._retrying(attempt)
        except BaseException:
            self.epoch += 1
            raise
        self._moved(own_writes=1)
        self.commits_since_optimised += 1
        return done

    def _moved(self, *, own_writes: int) -> int:
        """Notes the version that this is at now: any that this owner did not make begins another epoch."""
        version = self.version
        if version > self._seen_version + own_writes:
            self.epoch += 1
        self._seen_version = version
        return version

    def _look_again(self, state: RetryCallState) -> None:
        with contextlib.suppress(StoreUnavailable):  # the next attempt says what is wrong
            self.refresh()

    def _fragments(self) -> int:
        with answering(f"asking {self.name} for its size"):
            return int(self._handle.stats()["fragment_stats"]["num_small_fragments"])
