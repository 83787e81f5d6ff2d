"""The store: memory rows and a ledger for each generation and partition.

`Store` is the contract; `lance.LanceStore` (a folder or an S3 URI) and `memory.MemoryStore` (the twin for tests) keep it;
`tests/store/conformance_store.py` is its suite. Calls block (call them from a worker thread); each raises
StoreUnavailable when the store does not answer, and StoreDamaged, which is one, when files of it are gone or were changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from crewmem_store.rows import LedgerRow, MemoryRow, Vector
from crewmem_store.updates import Update

SCAN_ROWS = 2_000
"""Rows that a scan gives at once: a few megabytes, as a memory's content has 10,000 characters at most."""

ROWS_MERGED, UPDATES_APPLIED, LEDGER_WRITTEN = "rows_merged", "updates_applied", "ledger_written"
WRITES = (ROWS_MERGED, UPDATES_APPLIED, LEDGER_WRITTEN)
"""The steps of `commit`, in this order: a crash test stops a process at each of them."""

Checkpoint = Callable[[str], None]
"""Told the name of each step as it is reached."""


def no_checkpoint(name: str) -> None:
    """What runs in production: nothing happens at a step."""
    del name


@dataclass(frozen=True, slots=True)
class StoreNote:
    """What a store says of itself; written at its creation and checked at every start."""

    namespace: str
    layout_version: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table version, in (partition, offset, span) order. `matrix` is float32 (n, d): row i's vector."""

    rows: Sequence[MemoryRow]
    matrix: Vector


@dataclass(frozen=True, slots=True)
class Summary:
    """An LLM summary for a stored row: shown to people and agents, never searched."""

    id: str
    summary: str
    summariser: str


class Judged(NamedTuple):
    """What the ledger says of how a record became its memories: the record's CRC, the rules, and each span's fate."""

    crc: int
    rules_sha256: str | None
    spans: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Made:
    """What another generation may take over of a memory. `judged` is what the ledger says of its record; None while it does
    not hold that record yet."""

    id: str
    offset: int
    span: str
    judged: Judged | None
    text: str
    content: str | None
    summary: str | None
    source_hash: str
    vector: Vector | None
    embedder: str
    summariser: str
    made_by: str


@dataclass(frozen=True, slots=True)
class Tally:
    """A ledger in numbers. `offsets` is int64, sorted: one for each row, so an offset that is there twice is in it twice."""

    offsets: npt.NDArray[np.int64]
    outcomes: dict[str, int]


class Changed(NamedTuple):
    """A memory of which text, content or vector is not what was written."""

    offset: int
    event_id: str
    id: str


class PartitionView(Protocol):
    """Memory rows and ledger of one partition at ONE version: what a batch is decided from."""

    @property
    def epoch(self) -> int | None:
        """Between two views of one epoch only this owner wrote, so cached sessions are still right. None: unknown."""

    def rows(self, scope: str) -> Sequence[MemoryRow]:
        """Every row of the scope, tombstones included (also those that an Erase left under its record key), by offset
        and span. `content`, `summary`, `metadata`, `agent_role`, `importance`, `summariser`, `made_by` and `writer` are
        left out: nothing is decided from them."""

    def ledger(self, ce_id: str) -> Sequence[LedgerRow]:
        """The ledger rows of that event id, by offset."""


class DecidedPartition(Protocol):
    """One partition, as far as records are decided from it and written to it."""

    def last(self) -> LedgerRow | None:
        """The ledger's row with the largest offset: the consumer resumes at its offset + 1."""

    def rules(self) -> LedgerRow | None:
        """The newest ledger row of a `crewmem.rules.applied` record; its `detail` is the rules' text."""

    def view(self, *, scopes: Collection[str], ce_ids: Collection[str]) -> PartitionView:
        """What these scopes and event ids hold, read from one version of each table."""

    def commit(self, *, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
        """One merge with all rows (an id that is there already keeps what it has), the updates in order (see
        `updates`), then the ledger rows (an offset that is there already stays). Repeating it changes nothing."""

    def maintain(self) -> None:
        """Optimises, when enough was committed since the last time, and makes durable what was written (once a second at
        most). Gets what was erased out of the files, and then notes `effects.PURGED` in the erasure's marker. Called by the
        owner between batches; cheap when nothing is due."""


class PartitionStore(DecidedPartition, Protocol):
    """One partition of one generation, as its owner writes it."""

    def unsummarised(self, *, summariser: str, limit: int) -> Sequence[MemoryRow]:
        """Rows with text whose `summariser` is not this one, oldest first: the backlog of LLM summaries."""

    def summary_backlog(self, *, summariser: str) -> int:
        """How many rows `unsummarised` would give without a limit."""

    def set_summaries(self, summaries: Sequence[Summary]) -> None:
        """Adds LLM summaries to rows that still have text, and with them the name of who wrote them."""

    def close(self) -> None:
        """Makes durable what was written; safe to call twice."""


class StoreReader(Protocol):
    """One generation as recall reads it: always the newest version, all partitions."""

    def rows(self, scopes: Collection[str], *, partitions: Collection[int]) -> Rows:
        """Rows with text of these scopes (exact match); the partitions are where they lie. Vectors included.

        Rows of a scope below its last erasure's offset are left out. Expired and superseded rows are included:
        whoever searches decides by time.
        """

    def scopes(self, tenant: str) -> dict[str, int]:
        """Every scope of the tenant that has rows with text -> its partition."""

    def get(self, id: str) -> MemoryRow | None:
        """The row of that memory id, a tombstone too (with `duplicate_of`), or None."""

    def by_event(self, event_id: str) -> Sequence[MemoryRow]:
        """Every row of that event, tombstones too."""

    def duplicates(self, id: str) -> Sequence[MemoryRow]:
        """The tombstones with `duplicate_of` = id."""

    def last_offset(self, partition: int) -> int:
        """The ledger's largest offset, or -1: what is in the view of this generation."""

    def events(self, partition: int, event_ids: Collection[str]) -> Sequence[LedgerRow]:
        """The ledger rows of these event ids, by offset."""

    def ledger(self, partition: int, *, start: int, limit: int) -> Sequence[LedgerRow]:
        """Ledger rows from offset `start` on, in order."""

    def ledger_of(self, event_id: str) -> Sequence[tuple[int, LedgerRow]]:
        """(partition, ledger row) for every log position that holds this event id, in order."""

    def rules(self, partition: int) -> LedgerRow | None:
        """The newest ledger row of a `crewmem.rules.applied` record that was applied; its `detail` is the rules' text."""

    def outcomes(self, partition: int) -> dict[str, int]:
        """How many ledger rows have each outcome."""

    def outcomes_of(self, partition: int, tenant: str) -> dict[str, int]:
        """The same, of that tenant's events alone. Control events, and records that were never an event, are of no tenant."""

    def tally(self, partition: int) -> Tally:
        """Offsets and outcomes, counted in the ledger's rows themselves. Right also while rows are written: of a row that is
        counted, every one below it is counted too."""

    def forgets(self, partition: int, scope_key: str) -> Sequence[LedgerRow]:
        """The rows of every `crewmem.memory.forgotten` and `crewmem.session.forgotten` of that record key, by offset."""

    def letters(self, partition: int) -> Sequence[LedgerRow]:
        """Every row of a dead letter, of a `crewmem.event.redriven` and of a `crewmem.event.discarded`, by offset."""

    def made(self, partition: int, *, start: int, end: int) -> Sequence[Made]:
        """What was made of the records of offsets `start` to `end` (that one left out): of each row with text."""

    def damage(self, partitions: Collection[int]) -> Mapping[int, str]:
        """Partition -> what is known to be damaged of it: a table that is gone, or what a read of this reader met in the last
        minutes and no `check` has found whole since. Cheap: no memory is read."""

    def check(self, partition: int) -> Iterator[tuple[int, Sequence[Changed]]]:
        """Reads every memory of the partition whole, a few thousand at a time, all of ONE version: how many, and those of them
        that are not what was written. Raises StoreDamaged where files are gone or cannot be decoded, StoreUnavailable as
        `scan` does."""

    def scan(self, partition: int) -> Iterator[Sequence[MemoryRow]]:
        """Every row of the partition, tombstones too, by offset and span, a few thousand at a time, all from ONE version.

        `vector` is left None. A row below its session's last erasure is shown as the tombstone that it counts as. When a
        clean-up takes the version in the middle, StoreUnavailable is raised: start again.
        """


class Store(Protocol):
    """Every generation of one namespace."""

    def open(self, *, namespace: str) -> None:
        """Creates the store or checks its note. Raises NamespaceMismatch, LayoutTooNew, StoreUnavailable."""

    def partition(self, generation: str, partition: int, *, dimensions: int) -> PartitionStore:
        """That partition for writing; its tables are made when they are not there. `dimensions` is the vectors' d."""

    def reader(self, generation: str) -> StoreReader:
        """That generation for reading; partitions that nobody has written yet are empty."""

    def generations(self) -> set[str]:
        """The names of the generations that have tables."""

    def drop(self, generation: str) -> None:
        """Removes the generation's tables; harmless when there are none."""

    def close(self) -> None:
        """Safe to call twice."""
