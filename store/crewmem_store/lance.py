"""The store in LanceDB: a folder of one machine, or a prefix on object storage for a fleet.

One memory table a generation and partition (`mem_g1_p07`), its ledger in tables of 262,144 offsets (`led_g1_p07_0`) with
their sums (`led_g1_p07_closed`), and one note of the store itself (`crewmem_note`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from crewmem_producers.errors import StoreUnavailable
from filelock import FileLock, Timeout

from crewmem_store import lance_filters, note, rewind
from crewmem_store.durability import Durability, boot_id
from crewmem_store.files import Files
from crewmem_store.lance_database import Database, read
from crewmem_store.lance_errors import answering
from crewmem_store.lance_partition import LancePartition, gone, ledger_prefix, memory_name
from crewmem_store.lance_reader import LanceReader
from crewmem_store.ledger_reader import LedgerReader
from crewmem_store.store import Checkpoint, StoreNote, no_checkpoint

NOTE = "crewmem_note"
_NOTE_SCHEMA = pa.schema([pa.field("namespace", pa.string()), pa.field("layout_version", pa.int64())])
_TABLE = re.compile(r"(mem|led)_(?P<generation>g\d+)_p\d")
LOCK_SECONDS = 60.0
"""How long an owner waits, before it says so, for one that takes the partition back after a power loss. Two must not; in all
other cases owners open a partition beside each other, since one that is paused as it does would hold up the next for ever."""

READER_CACHE_BYTES = 256 * 2**20


class LanceStore:
    """`uri` is a folder or `s3://bucket/prefix` (with `storage_options` as LanceDB takes them).

    `checkpoint` is called with the name of each step of a commit; `boot` names this start of the machine.
    """

    def __init__(
        self,
        uri: str,
        *,
        storage_options: Mapping[str, str] | None = None,
        checkpoint: Checkpoint = no_checkpoint,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        boot: Callable[[], str] = boot_id,
        reader_cache_bytes: int = READER_CACHE_BYTES,
    ) -> None:
        self._database = Database(uri, storage_options=storage_options)
        self._files = Files(uri, storage_options=storage_options)
        self._checkpoint = checkpoint
        self._clock = clock
        self._sleep = sleep
        self._boot = boot
        self._reader_cache_bytes = reader_cache_bytes

    def open(self, *, namespace: str) -> None:
        """Creates the store or checks its note. Raises NamespaceMismatch, LayoutTooNew, StoreUnavailable."""
        fresh = note.fresh(namespace)
        table = self._database.table(NOTE)
        if table is None:
            row = {"namespace": [fresh.namespace], "layout_version": [fresh.layout_version]}
            self._database.create(NOTE, pa.table(row, schema=_NOTE_SCHEMA))
            table = self._database.table(NOTE)
        if table is None:
            raise StoreUnavailable(f"the note of the store at {self._database.uri} cannot be read")
        (values,) = read(table, tuple(_NOTE_SCHEMA.names), lance_filters.EVERY_ROW).to_pylist()
        note.check(StoreNote(**values), namespace=namespace)

    def partition(self, generation: str, partition: int, *, dimensions: int) -> LancePartition:
        """That partition for writing; after a power loss it is first taken back to what is known to be on disk. Raises
        StoreDamaged where its memory table is gone."""
        if self._database.folder is None:
            return self._open(generation, partition, dimensions, None)
        durability = Durability(self._database.folder, f"{generation}_p{partition:02d}", boot=self._boot())
        tables = {"memory": memory_name(generation, partition), "ledger_prefix": ledger_prefix(generation, partition)}
        if not rewind.is_needed(self._database, durability, **tables):
            return self._open(generation, partition, dimensions, durability)
        with _alone(durability.lock_path):
            rewind.to_what_is_durable(self._database, durability, **tables)
            return self._open(generation, partition, dimensions, durability)

    def _open(self, generation: str, partition: int, dimensions: int, durability: Durability | None) -> LancePartition:
        name, prefix = memory_name(generation, partition), ledger_prefix(generation, partition)
        if self._database.table(name) is None and LedgerReader(self._database, prefix).last_offset() >= 0:
            raise gone(name)  # an empty one in its place would stay empty: the ledger says that all is done
        return LancePartition(
            self._database, generation=generation, partition=partition, dimensions=dimensions, durability=durability,
            files=self._files,
            checkpoint=self._checkpoint, clock=self._clock, sleep=self._sleep,
        )  # fmt: skip

    def reader(self, generation: str) -> LanceReader:
        return LanceReader(self._database, generation, cache_bytes=self._reader_cache_bytes)

    def generations(self) -> set[str]:
        found = (_TABLE.match(name) for prefix in ("mem_", "led_") for name in self._database.names(prefix))
        return {match["generation"] for match in found if match}

    def drop(self, generation: str) -> None:
        for prefix in (f"mem_{generation}_p", f"led_{generation}_p"):
            for name in self._database.names(prefix):
                self._database.drop(name)
        if self._database.folder is not None:
            for path in (self._database.folder / "notes").glob(f"{generation}_p*"):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        self._database.close()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock while a partition is taken back. Raises StoreUnavailable."""
    lock = FileLock(path, timeout=LOCK_SECONDS)
    with answering(f"locking {path}"):
        try:
            lock.acquire()
        except Timeout as error:
            raise StoreUnavailable(
                f"another owner has been taking {path.stem} back after a power loss for {LOCK_SECONDS:g} seconds or more: "
                "if a consumer of this machine is paused or does not answer, end it"
            ) from error
    try:
        yield
    finally:
        lock.release()
