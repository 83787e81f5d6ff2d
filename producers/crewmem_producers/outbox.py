"""The outbox: what was published and is not yet on the log, in one SQLite file a destination, shared by all processes.

Append is durable when it returns. Rows are in the order of publishing; delivered ones are deleted (`secure_delete`), those
that the destination refused for ever move to the outbox's own dead letters. For a while after a delivery its freshness
token is kept, so that the process that published can read it, whichever process sent.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zstandard

from crewmem_producers.cloudevents import from_json, to_bytes
from crewmem_producers.errors import InvalidEvent, OutboxFull
from crewmem_producers.events import Event
from crewmem_producers.outbox_file import OutboxFile
from crewmem_producers.transport import Delivered, Fate, Refused

KEPT_TOKENS = 10_000
"""Tokens of the newest deliveries that are kept; they hold no content."""

_ERROR, _CALLER_REFUSED = "error", "caller_refused"
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


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What an outbox holds. Sizes in bytes, ages in seconds; counts are since the file was made.

    `times_full` counts calls that met a full outbox, `dead_letters` events that the destination refused for ever; `error` is
    what the relay met last, None once it has succeeded, and `caller_refused` says that it was a refused key, address or
    setting; `path` is None where nothing is kept (CREWMEM_DURABILITY=log).
    """

    path: Path | None = None
    depth: int = 0
    oldest_seconds: float | None = None
    bytes: int = 0
    times_full: int = 0
    dead_letters: int = 0
    delivered: int = 0
    error: str | None = None
    caller_refused: bool = False


class Outbox:
    """Thread-safe and shared by processes. Every method raises OutboxBroken when the file cannot be used."""

    def __init__(self, path: Path, *, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """`max_bytes`: size at which `append` refuses. Nothing is opened before the first use."""
        self._file = OutboxFile(path)
        self._max_bytes = max_bytes
        self._clock = clock

    @property
    def path(self) -> Path:
        return self._file.path

    def append(self, events: Sequence[Event]) -> list[int]:
        """All events or none, on disk when this returns; their places in the order. Raises OutboxFull."""
        rows = [_row(event, self._clock()) for event in events]
        try:
            return self._file.run(lambda connection: self._insert(connection, rows))
        except OutboxFull:
            self._file.run(lambda connection: _count(connection, "refused"))
            raise

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[tuple[str, int, float, bytes]]) -> list[int]:
        statement = "INSERT INTO events (id, size, created, body) VALUES (?, ?, ?, ?)"
        seqs = [connection.execute(statement, row).lastrowid or 0 for row in rows]
        if _bytes(connection) > self._max_bytes:  # rolls back
            raise OutboxFull(
                f"the outbox {self.path} may hold {self._max_bytes / 1e6:g} MB and is full: "
                "start the service or broker so that it drains, or raise CREWMEM_OUTBOX_MAX_MB"
            )
        return seqs

    def batch(self, *, max_events: int, max_bytes: int) -> list[Waiting]:
        """The oldest rows in order: at least one if any waits, at most `max_events`, JSON of at most `max_bytes` together."""
        return self._file.query(lambda connection: _oldest(connection, max_events, max_bytes))

    def settle(self, fates: Iterable[tuple[Waiting, Fate]]) -> None:
        """Takes the rows out: delivered ones are gone, refused ones are dead letters. A row that is gone already is left."""
        settled = list(fates)
        self._file.run(lambda connection: _settle(connection, settled))

    def fates(self, seqs: Sequence[int]) -> dict[int, Fate]:
        """What became of these rows; those still waiting are not in it."""
        return self._file.query(lambda connection: _fates(connection, seqs))

    def newest(self) -> int:
        """The place of the newest row that waits; 0 when none does."""
        return self._file.query(lambda connection: _number(connection, "SELECT max(seq) FROM events"))

    def waits(self, up_to: int) -> bool:
        """Whether a row at or before that place still waits."""
        oldest = self._file.query(lambda connection: _number(connection, "SELECT min(seq) FROM events"))
        return 0 < oldest <= up_to

    def delivered(self) -> int:
        """How many events were delivered since the file was made."""
        return self._file.query(lambda connection: _counter(connection, "delivered"))

    def status(self) -> OutboxStatus:
        return self._file.query(self._status)

    def _status(self, connection: sqlite3.Connection) -> OutboxStatus:
        depth, oldest = connection.execute("SELECT count(*), min(created) FROM events").fetchone()
        notes = dict(connection.execute("SELECT name, value FROM notes"))
        return OutboxStatus(
            path=self.path,
            depth=depth,
            oldest_seconds=None if oldest is None else max(0.0, self._clock() - oldest),
            bytes=_bytes(connection),
            times_full=_counter(connection, "refused"),
            dead_letters=_number(connection, "SELECT count(*) FROM dead_letters"),
            delivered=_counter(connection, "delivered"),
            error=notes.get(_ERROR) or notes.get(_CALLER_REFUSED),
            caller_refused=_CALLER_REFUSED in notes,
        )

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The oldest of the events that were refused for ever."""
        statement = "SELECT id, reason, created, body FROM dead_letters ORDER BY seq LIMIT ?"
        rows = self._file.query(lambda connection: connection.execute(statement, (limit,)).fetchall())
        return [DeadLetter(id=row[0], reason=row[1], created=row[2], body=row[3]) for row in rows]

    def retry_dead_letters(self) -> int:
        """Puts every dead letter back, behind what waits, to be sent once more; how many there were."""
        return self._file.run(_retry_dead_letters)

    def count(self, session: str) -> int:
        """How many events of the session wait to be sent."""
        return len(self._file.query(lambda connection: _of_session(connection, "events", session)))

    def count_dead_letters(self, session: str) -> int:
        """How many events of the session were refused for ever."""
        return len(self._file.query(lambda connection: _of_session(connection, "dead_letters", session)))

    def discard_dead_letters(self, session: str) -> int:
        """Deletes what was refused for ever of the session, and says how many that were."""
        return self._file.run(lambda connection: _discard(connection, session))

    def note_error(self, error: str, *, caller_refused: bool = False) -> None:
        """Keeps what the relay met last where every process can read it, until the next delivery."""
        self._file.run(lambda connection: _note(connection, error, caller_refused))

    def tidy(self) -> bool:
        """Gives freed pages back and empties the write-ahead log, so that what was delivered is gone from the disk; False
        when another process is reading or writing just now, and it must be done again."""
        return self._file.query(_tidy)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self._file.close()


def _row(event: Event, now: float) -> tuple[str, int, float, bytes]:
    data = to_bytes(event)
    return event.id, len(data), now, zstandard.ZstdCompressor(level=3).compress(data)


def _unpacked(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(body)


def _oldest(connection: sqlite3.Connection, max_events: int, max_bytes: int) -> list[Waiting]:
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


def _settle(connection: sqlite3.Connection, fates: Sequence[tuple[Waiting, Fate]]) -> None:
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
            _count(connection, "delivered")
    connection.execute("DELETE FROM delivered WHERE seq <= (SELECT max(seq) FROM delivered) - ?", (KEPT_TOKENS,))
    connection.execute("DELETE FROM notes")


def _retry_dead_letters(connection: sqlite3.Connection) -> int:
    connection.execute(
        "INSERT INTO events (id, size, created, body) SELECT id, size, created, body FROM dead_letters ORDER BY seq"
    )
    return connection.execute("DELETE FROM dead_letters").rowcount


def _fates(connection: sqlite3.Connection, seqs: Sequence[int]) -> dict[int, Fate]:
    marks = json.dumps(list(seqs))  # one parameter, however many there are
    inside = "seq IN (SELECT value FROM json_each(?))"
    delivered = connection.execute(f"SELECT seq, token FROM delivered WHERE {inside}", (marks,)).fetchall()
    refused = connection.execute(f"SELECT seq, reason FROM dead_letters WHERE {inside}", (marks,)).fetchall()
    return {seq: Delivered(token) for seq, token in delivered} | {seq: Refused(reason) for seq, reason in refused}


def _bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that are in use."""
    pages, free, size = (_number(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def _count(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (name,))


def _counter(connection: sqlite3.Connection, name: str) -> int:
    return _number(connection, "SELECT max(value) FROM counters WHERE name = ?", name)


def _note(connection: sqlite3.Connection, error: str, caller_refused: bool) -> None:
    connection.execute("DELETE FROM notes")
    connection.execute("INSERT INTO notes VALUES (?, ?)", (_CALLER_REFUSED if caller_refused else _ERROR, error))


def _number(connection: sqlite3.Connection, statement: str, *values: object) -> int:
    return int(connection.execute(statement, values).fetchone()[0] or 0)


def _of_session(connection: sqlite3.Connection, table: str, session: str) -> list[int]:
    """The places of the rows whose event is of the session; a row that cannot be read is of none."""
    found = []
    for seq, body in connection.execute(f"SELECT seq, body FROM {table}"):
        with suppress(ValueError, zstandard.ZstdError):
            if json.loads(_unpacked(body)).get("data", {}).get("session") == session:
                found.append(seq)
    return found


def _discard(connection: sqlite3.Connection, session: str) -> int:
    gone = _of_session(connection, "dead_letters", session)
    connection.executemany("DELETE FROM dead_letters WHERE seq = ?", [(seq,) for seq in gone])
    return len(gone)


def _tidy(connection: sqlite3.Connection) -> bool:
    connection.execute("PRAGMA incremental_vacuum").fetchall()
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
