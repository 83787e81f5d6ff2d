"""The event log of one machine: topics of one SQLite file that several processes append to and read."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.log import Header, LoggedRecord, Position, Record
from crewmem_producers.sqlite import Database, transaction

MAX_READ_BYTES = 32 * 1024 * 1024
"""A read stops after the record that passes this size, whatever its limit."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS log_partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    UNIQUE (topic, partition)
);
CREATE TABLE IF NOT EXISTS log_records (
    partition_id INTEGER NOT NULL, "offset" INTEGER NOT NULL, key BLOB, value BLOB, headers TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    PRIMARY KEY (partition_id, "offset")
)
"""

_READ = """
SELECT "offset", key, value, headers, timestamp_ms FROM log_records
WHERE partition_id = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?
"""
_FIRST = """
SELECT partition, coalesce((SELECT min("offset") FROM log_records WHERE partition_id = id), next_offset)
FROM log_partitions WHERE topic = ?
"""


@dataclass(slots=True)
class _Turn:
    """One `append` that waits for its commit."""

    records: Sequence[Record]
    positions: list[Position] = field(default_factory=list)
    error: BaseException | None = None


class SqliteLog:
    """One topic of a SQLite file. An append has been synced to the disk when it returns.

    `partitions` is how many a new topic gets; one that is there keeps its own number.
    """

    def __init__(self, path: Path, *, topic: str, partitions: int = 1, clock: Callable[[], float] = time.time) -> None:
        self._topic = topic
        self._partitions = partitions
        self._clock = clock
        self._ids: dict[int, int] = {}
        self._turns: deque[_Turn] = deque()
        # Two connections, so that a reader never waits for the disk's sync.
        self._writer = Database(path, schema=SCHEMA, unavailable=LogUnavailable)
        self._reader = Database(path, schema=SCHEMA, unavailable=LogUnavailable)

    @property
    def partitions(self) -> int:
        """How many partitions the topic has. Known after `start`."""
        return self._partitions

    async def start(self) -> None:
        """Opens the file and makes the topic when it is not there. Raises LogUnavailable, LogRefused for another file."""
        await self._writer.open()
        try:
            await self._reader.open()
            self._ids = await self._writer.run(self._ensure_topic)
        except BaseException:
            await self.close()
            raise
        self._partitions = len(self._ids)

    async def append(self, records: Sequence[Record]) -> list[Position]:
        """Appends in order, all or none, and returns the positions.

        Raises LogUnavailable, EventTooLarge, ValueError for a wrong partition.
        """
        turn = _Turn([record.checked(self._partitions) for record in records])
        self._turns.append(turn)
        try:
            await self._writer.run(self._write_turns)
        except (LogUnavailable, LogRefused):  # the file could not be opened again
            if turn.positions:  # a call beside this one could, and wrote both
                return turn.positions
            with suppress(ValueError, IndexError):  # nobody may append later what this caller gets an error for
                self._turns.remove(turn)
            raise
        if turn.error is not None:
            raise self._writer.failed(turn.error) from turn.error
        return turn.positions

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        """Up to `limit` records from `offset` on, fewer when they are large; empty at the end. Raises LogUnavailable."""
        identity = self._ids.get(partition, -1)
        return await self._reader.run(lambda connection: _read(connection, identity, partition, offset, limit))

    async def first(self) -> dict[int, int]:
        """Offset of the first record of each partition. Raises LogUnavailable."""
        return dict(await self._reader.run(lambda connection: connection.execute(_FIRST, (self._topic,)).fetchall()))

    async def end(self) -> dict[int, int]:
        """Offset that the next record of each partition will get. Raises LogUnavailable."""
        query = "SELECT partition, next_offset FROM log_partitions WHERE topic = ?"
        return dict(await self._reader.run(lambda connection: connection.execute(query, (self._topic,)).fetchall()))

    async def close(self) -> None:
        """Closes the file after what was begun; safe to call twice."""
        await self._writer.close()
        await self._reader.close()

    def _ensure_topic(self, connection: sqlite3.Connection) -> dict[int, int]:
        query = "SELECT partition, id FROM log_partitions WHERE topic = ?"
        with transaction(connection):
            if not connection.execute(query, (self._topic,)).fetchone():
                connection.executemany(
                    "INSERT INTO log_partitions (topic, partition, next_offset) VALUES (?, ?, 0)",
                    [(self._topic, partition) for partition in range(self._partitions)],
                )
            return dict(connection.execute(query, (self._topic,)).fetchall())

    def _write_turns(self, connection: sqlite3.Connection) -> None:
        """Commits every append that waits, in one transaction: a sync costs the same for one record as for a thousand."""
        turns: list[_Turn] = []
        while self._turns:
            turns.append(self._turns.popleft())
        if not turns:
            return
        try:
            with transaction(connection):
                for turn in turns:
                    turn.positions = self._insert(connection, turn.records)
        except BaseException as error:  # every caller must know: what each of them appended was rolled back
            for turn in turns:
                turn.error = error

    def _insert(self, connection: sqlite3.Connection, records: Iterable[Record]) -> list[Position]:
        query = "SELECT partition, next_offset FROM log_partitions WHERE topic = ?"
        ends: dict[int, int] = dict(connection.execute(query, (self._topic,)).fetchall())
        now = int(self._clock() * 1000)
        positions, rows = [], []
        for record in records:
            partition = record.partition or 0
            positions.append(Position(partition, ends[partition]))
            rows.append((self._ids[partition], ends[partition], record.key, record.value, _pack(record.headers), now))
            ends[partition] += 1
        connection.executemany("INSERT INTO log_records VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.executemany(
            "UPDATE log_partitions SET next_offset = ? WHERE id = ?",
            [(end, self._ids[partition]) for partition, end in ends.items()],
        )
        return positions


def _read(connection: sqlite3.Connection, identity: int, partition: int, offset: int, limit: int) -> list[LoggedRecord]:
    found: list[LoggedRecord] = []
    size = 0
    for row in connection.execute(_READ, (identity, offset, limit)):
        found.append(_record(partition, *row))
        size += len(found[-1].value or b"")
        if size >= MAX_READ_BYTES:
            break
    return found


def _record(partition: int, offset: int, key: Any, value: Any, headers: str, timestamp_ms: int) -> LoggedRecord:
    return LoggedRecord(partition, offset, key, value, _unpack(headers), timestamp_ms)


def _pack(headers: Sequence[Header]) -> str:
    """Headers as ASCII JSON; a value's bytes as the characters of the same numbers."""
    return json.dumps([[name, value.decode("latin-1")] for name, value in headers])


def _unpack(text: str) -> tuple[Header, ...]:
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))
