"""The digest of a generation: two computations of one log with one configuration have the same, wherever they were made.

It covers the memories: every row with text, superseded and expired ones too. A forgotten memory, a duplicate and a dropped
span have no text and are not in it. An id counts without its partition, since logs differ in how many they have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from crewmem_producers.errors import StoreUnavailable
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from crewmem_store.rows import MemoryRow
from crewmem_store.store import StoreReader

ATTEMPTS = 3
"""How often a partition is read: a clean-up may take the version that is being read."""


@dataclass(frozen=True, slots=True)
class Digest:
    """SHA-256 in hex over every memory of a generation, and how many there are."""

    hex: str
    rows: int


def digest(reader: StoreReader, *, partitions: int, progress: Callable[[int], None] = lambda rows: None) -> Digest:
    """The digest of partitions 0 to `partitions` - 1. `progress` is told of each batch how many rows were read.

    What is written meanwhile may be in it or not: a digest says something of a generation that rests. Raises
    StoreUnavailable.
    """
    again = Retrying(retry=retry_if_exception_type(StoreUnavailable), stop=stop_after_attempt(ATTEMPTS), reraise=True)
    found = sorted(one for partition in range(partitions) for one in again(_partition, reader, partition, progress))
    whole = hashlib.sha256()
    for one in found:
        whole.update(one)
    return Digest(whole.hexdigest(), len(found))


def _partition(reader: StoreReader, partition: int, progress: Callable[[int], None]) -> list[bytes]:
    found: list[bytes] = []
    for rows in reader.scan(partition):
        found += [of_row(row) for row in rows if row.text is not None]
        progress(len(rows))
    return found


def of_row(row: MemoryRow) -> bytes:
    """What must be the same of a row: the hash part of its id, then SHA-256 over all that was decided of it."""
    name = row.id.partition("-")[2]
    said = (
        row.scope, row.kind, row.text, row.content, row.key, _microseconds(row.created_at), _microseconds(row.expires_at),
        _microseconds(row.superseded_at), dict(row.metadata),
    )  # fmt: skip
    written = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return name.encode() + hashlib.sha256(written.encode("utf-8", "surrogatepass")).digest()


def _microseconds(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")
