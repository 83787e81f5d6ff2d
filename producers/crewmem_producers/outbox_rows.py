"""The rows of an outbox, and the statements that read and change them, each inside the caller's transaction. What they do is
said by the methods of `outbox.Outbox`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import zstandard

from crewmem_producers.cloudevents import from_json, to_bytes
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import Event
from crewmem_producers.transport import Delivered, Fate, Refused

KEPT_TOKENS = 10_000
"""Tokens of the newest deliveries that are kept; they hold no content."""

ERROR, CALLER_REFUSED = "error", "caller_refused"
"""Names of the relay's note: what it met last, and whether that was a refusal of the caller."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the outbox: `seq` is its place in the order of publishing, `created` in epoch seconds, `body` zstd of `json`."""

    seq: int
    id: str
    created: float
    body: bytes

    def event(self, *, tenant: str) -> Event:
        """Raises InvalidEvent for what is no event that may be published."""
        try:
            return from_json(json.loads(_unpacked(self.body)), tenant=tenant)
        except (ValueError, zstandard.ZstdError) as error:
            if isinstance(error, InvalidEvent):
                raise
            raise InvalidEvent(f"row {self.seq} of the outbox cannot be read: {error}", reason="bad_encoding") from error


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was refused for ever: `reason` is what the destination said, `body` its CloudEvents object under zstd."""

    id: str
    reason: str
    created: float
    body: bytes


Row = tuple[str, int, float, bytes]
"""A row that is not there yet: event id, size of its JSON in bytes, epoch seconds, the JSON under zstd."""


def row_of(event: Event, now: float) -> Row:
    data = to_bytes(event)
    return event.id, len(data), now, zstandard.ZstdCompressor(level=3).compress(data)


def _unpacked(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body)


def insert(connection: sqlite3.Connection, made: Sequence[Row]) -> list[int]:
    """The new rows' places in the order of publishing."""
    statement = "INSERT INTO events (id, size, created, body) VALUES (?, ?, ?, ?)"
    return [connection.execute(statement, row).lastrowid or 0 for row in made]


def oldest(connection: sqlite3.Connection, max_events: int, max_bytes: int) -> list[Waiting]:
    rows: list[Waiting] = []
    total = 0
    cursor = connection.execute("SELECT seq, id, size, created, body FROM events ORDER BY seq LIMIT ?", (max_events,))
    for seq, event_id, size, created, body in cursor:
        total += size
        if rows and total > max_bytes:
            break
        rows.append(Waiting(seq=seq, id=event_id, created=created, body=body))
    cursor.close()
    return rows


def after(connection: sqlite3.Connection, seq: int, limit: int) -> list[tuple[int, Row]]:
    """The waiting rows behind that place, at most `limit`, in order, each with its place."""
    query = "SELECT seq, id, size, created, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    return [(place, (id, size, created, body)) for place, id, size, created, body in connection.execute(query, (seq, limit))]


def without_waiting(connection: sqlite3.Connection, made: Sequence[Row]) -> list[Row]:
    """Those whose event does not wait here already."""
    marks = json.dumps([row[0] for row in made])
    there = {id for (id,) in connection.execute("SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?))", (marks,))}
    return [row for row in made if row[0] not in there]


def delete(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    connection.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for seq in seqs])


def settle(connection: sqlite3.Connection, fates: Sequence[tuple[Waiting, Fate]]) -> None:
    for row, fate in fates:
        if isinstance(fate, Refused):
            connection.execute(
                "INSERT OR IGNORE INTO dead_letters (seq, id, size, created, reason, body)"
                " SELECT seq, id, size, created, ?, body FROM events WHERE seq = ?",
                (fate.reason, row.seq),
            )
        gone = connection.execute("DELETE FROM events WHERE seq = ?", (row.seq,)).rowcount
        if gone and isinstance(fate, Delivered):
            connection.execute("INSERT OR REPLACE INTO delivered (seq, token) VALUES (?, ?)", (row.seq, fate.token))
            count_one(connection, "delivered")
    connection.execute("DELETE FROM delivered WHERE seq <= (SELECT max(seq) FROM delivered) - ?", (KEPT_TOKENS,))
    connection.execute("DELETE FROM notes")


def dead_letters(connection: sqlite3.Connection, limit: int) -> list[DeadLetter]:
    """The oldest dead letters, at most `limit`."""
    found = connection.execute("SELECT id, reason, created, body FROM dead_letters ORDER BY seq LIMIT ?", (limit,))
    return [DeadLetter(id=row[0], reason=row[1], created=row[2], body=row[3]) for row in found]


def retry_dead_letters(connection: sqlite3.Connection) -> int:
    connection.execute(
        "INSERT INTO events (id, size, created, body) SELECT id, size, created, body FROM dead_letters ORDER BY seq"
    )
    return connection.execute("DELETE FROM dead_letters").rowcount


def fates(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, Fate]:
    marks = json.dumps(list(seqs))  # one parameter, however many there are
    inside = "seq IN (SELECT value FROM json_each(?))"
    delivered = connection.execute(f"SELECT seq, token FROM delivered WHERE {inside}", (marks,)).fetchall()
    refused = connection.execute(f"SELECT seq, reason FROM dead_letters WHERE {inside}", (marks,)).fetchall()
    return {seq: Delivered(token) for seq, token in delivered} | {seq: Refused(reason) for seq, reason in refused}


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that are in use."""
    pages, free, size = (number(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def count_one(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (name,))


def counter(connection: sqlite3.Connection, name: str) -> int:
    return number(connection, "SELECT max(value) FROM counters WHERE name = ?", name)


def note(connection: sqlite3.Connection, error: str, caller_refused: bool) -> None:
    connection.execute("DELETE FROM notes")
    connection.execute("INSERT INTO notes VALUES (?, ?)", (CALLER_REFUSED if caller_refused else ERROR, error))


def number(connection: sqlite3.Connection, statement: str, *values: object) -> int:
    return int(connection.execute(statement, values).fetchone()[0] or 0)


def of_session(connection: sqlite3.Connection, table: str, session: str) -> list[int]:
    """The places of the rows whose event is of the session; a row that cannot be read is of none."""
    found = []
    for seq, body in connection.execute(f"SELECT seq, body FROM {table}"):
        with suppress(ValueError, zstandard.ZstdError):
            if json.loads(_unpacked(body)).get("data", {}).get("session") == session:
                found.append(seq)
    return found


def discard_dead_letters(connection: sqlite3.Connection, session: str) -> int:
    gone = of_session(connection, "dead_letters", session)
    connection.executemany("DELETE FROM dead_letters WHERE seq = ?", [(seq,) for seq in gone])
    return len(gone)


def tidy(connection: sqlite3.Connection) -> bool:
    connection.execute("PRAGMA incremental_vacuum").fetchall()
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
