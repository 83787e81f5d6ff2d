"""The event log: a few partitions of records that are only ever appended.

`EventLog` is the contract; `log_sqlite.SqliteLog` (one machine) and `log_kafka.KafkaLog` (the fleet) keep it, and
`tests/producers/conformance_log.py` of the source distribution is its suite.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Protocol

from crewmem_producers.compat import UTC
from crewmem_producers.errors import EventTooLarge
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.names import partition_of

Header = tuple[str, bytes]


_RECORD_OVERHEAD = 256
_POSITION = re.compile(r"([0-9]{1,9})[/:]([0-9]{1,18})")


class Position(NamedTuple):
    """A place on the log; as text `3/1207`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """`<partition>/<offset>`, or with a colon between them; None for any other text."""
        match = _POSITION.fullmatch(text)
        return None if match is None else cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Record:
    """What is appended: key, body and headers as bytes. With `partition` None the key decides (names.partition_of)."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    partition: int | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name as text (undecodable bytes replaced), or None."""
        return _header(self.headers, name)

    @property
    def scope_key(self) -> str:
        """The key as text (undecodable bytes replaced), which says of which session the record is; empty without a key."""
        return _text(self.key)

    @property
    def size(self) -> int:
        """Bytes that the record takes on the log, or a few more."""
        return _size(self)

    def checked(self, partitions: int) -> Record:
        """The record with its partition named. Raises EventTooLarge, ValueError for a partition out of range."""
        if self.size > RECORD_BYTES:
            raise EventTooLarge(f"a record of {self.size} bytes is over what the log takes ({RECORD_BYTES})")
        return replace(self, partition=self.partition_in(partitions))

    def partition_in(self, partitions: int) -> int:
        """Where the record goes; one with neither key nor partition goes to 0. Raises ValueError for one out of range."""
        if self.partition is None:
            return 0 if self.key is None else partition_of(self.key, partitions)
        if not 0 <= self.partition < partitions:
            raise ValueError(f"the log has partitions 0 to {partitions - 1}, not {self.partition}")
        return self.partition


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """What is read: a record at its position. `timestamp_ms` is the log's own clock (UTC, milliseconds)."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    timestamp_ms: int

    @property
    def position(self) -> Position:
        return Position(self.partition, self.offset)

    @property
    def logged_at(self) -> datetime:
        """`timestamp_ms` as a time, UTC. A producer may stamp what it likes: what is no time counts as 1970."""
        try:
            return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(0, UTC)

    @property
    def crc(self) -> int:
        """CRC-32 over key, body and headers, so that a refilled log is told from the one that was read before."""
        crc = zlib.crc32(self.key or b"")
        crc = zlib.crc32(self.value or b"", crc)
        for name, value in self.headers:
            crc = zlib.crc32(name.encode("utf-8", "surrogateescape"), crc)
            crc = zlib.crc32(value or b"", crc)
        return crc

    def header(self, name: str) -> str | None:
        """The first header of that name as text (undecodable bytes replaced), or None."""
        return _header(self.headers, name)

    @property
    def scope_key(self) -> str:
        """The key as text (undecodable bytes replaced), which says of which session the record is; empty without a key."""
        return _text(self.key)

    @property
    def size(self) -> int:
        """Bytes that the record takes on the log, or a few more."""
        return _size(self)


def _size(record: Record | LoggedRecord) -> int:
    headers = sum(len(name.encode("utf-8", "surrogateescape")) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + _RECORD_OVERHEAD


def _header(headers: Sequence[Header], name: str) -> str | None:
    for candidate, value in headers:
        if candidate == name:
            return _text(value)
    return None


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


class EventLog(Protocol):
    """Append-only partitions. Every method raises LogUnavailable when the log does not answer; never loses in silence."""

    @property
    def partitions(self) -> int:
        """How many partitions the log has; fixed when it is created. Known after `start`."""

    async def start(self) -> None:
        """Connects; raises LogRefused when the log is not what crewmem needs."""

    async def append(self, records: Sequence[Record]) -> list[Position]:
        """Appends in order and returns each record's position once the log has acknowledged it durably.

        Raises EventTooLarge over RECORD_BYTES, ValueError for a partition that is not there, and LogRefused where the
        caller may not write; then nothing is appended. After another error some of the records may be on the log: appending
        them again is harmless, their `ce_id` tells.
        """

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        """Up to `limit` records of `partition` from `offset` on, in order; empty at the end of the log."""

    async def first(self) -> dict[int, int]:
        """Offset of the first record still there, for each partition (equals `end` of an empty one)."""

    async def end(self) -> dict[int, int]:
        """Offset that the next record will get, for each partition."""

    async def close(self) -> None:
        """Frees connections and files; safe to call twice."""
