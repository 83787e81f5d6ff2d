"""The outbox: what was published and is not yet on the log, in one SQLite file a destination, shared by all processes.

Append is durable when it returns. Rows are in the order of publishing; delivered ones are deleted (`secure_delete`), those
that the destination refused for ever move to the outbox's own dead letters. For a while after a delivery its freshness
token is kept, so that the process that published can read it, whichever process sent.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crewmem_producers import outbox_rows as rows
from crewmem_producers.errors import OutboxFull
from crewmem_producers.events import Event
from crewmem_producers.outbox_file import OutboxFile
from crewmem_producers.outbox_rows import DeadLetter, Waiting
from crewmem_producers.transport import Fate

_MOVED_AT_ONCE = 500


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
        made = [rows.row_of(event, self._clock()) for event in events]
        try:
            return self._file.run(lambda connection: self._insert(connection, made))
        except OutboxFull:
            self._file.run(lambda connection: rows.count_one(connection, "refused"))
            raise

    def _insert(self, connection: sqlite3.Connection, made: Sequence[rows.Row]) -> list[int]:
        seqs = rows.insert(connection, made)
        if rows.used_bytes(connection) > self._max_bytes:  # rolls back
            raise OutboxFull(
                f"the outbox {self.path} may hold {self._max_bytes / 1e6:g} MB and is full: "
                "start the service or broker so that it drains, or raise CREWMEM_OUTBOX_MAX_MB"
            )
        return seqs

    def move_to(self, target: Outbox, *, checkpoint: Callable[[str], None] = lambda name: None) -> int:
        """Move what waits here behind what waits in `target`, in order, and return how many events those were.

        A part at a time is in `target`, on disk, before it is deleted here: a crash in between leaves it in both, and doing it
        again doubles nothing, nor does sending it twice, since the event id is the same. `checkpoint` is called after each
        step, for tests. Raises OutboxFull for a target at its limit, OutboxBroken.
        """
        moved = 0
        while part := self._file.query(lambda connection: rows.after(connection, 0, _MOVED_AT_ONCE)):
            target._take([row for _, row in part])
            checkpoint("inserted")
            self._delete([seq for seq, _ in part])
            checkpoint("deleted")
            moved += len(part)
        return moved

    def _take(self, made: Sequence[rows.Row]) -> None:
        """Insert those whose event does not wait here already."""
        self._file.run(lambda connection: self._insert(connection, rows.without_waiting(connection, made)))

    def _delete(self, seqs: Sequence[int]) -> None:
        self._file.run(lambda connection: rows.delete(connection, seqs))

    def batch(self, *, max_events: int, max_bytes: int) -> list[Waiting]:
        """The oldest rows in order: at least one if any waits, at most `max_events`, JSON of at most `max_bytes` together."""
        return self._file.query(lambda connection: rows.oldest(connection, max_events, max_bytes))

    def settle(self, fates: Iterable[tuple[Waiting, Fate]]) -> None:
        """Takes the rows out: delivered ones are gone, refused ones are dead letters. A row that is gone already is left."""
        settled = list(fates)
        self._file.run(lambda connection: rows.settle(connection, settled))

    def fates(self, seqs: Sequence[int]) -> dict[int, Fate]:
        """What became of these rows; those still waiting are not in it."""
        return self._file.query(lambda connection: rows.fates(connection, seqs))

    def newest(self) -> int:
        """The place of the newest row that waits; 0 when none does."""
        return self._file.query(lambda connection: rows.number(connection, "SELECT max(seq) FROM events"))

    def waits(self, up_to: int) -> bool:
        """Whether a row at or before that place still waits."""
        oldest = self._file.query(lambda connection: rows.number(connection, "SELECT min(seq) FROM events"))
        return 0 < oldest <= up_to

    def delivered(self) -> int:
        """How many events were delivered since the file was made."""
        return self._file.query(lambda connection: rows.counter(connection, "delivered"))

    def status(self) -> OutboxStatus:
        return self._file.query(self._status)

    def _status(self, connection: sqlite3.Connection) -> OutboxStatus:
        depth, oldest = connection.execute("SELECT count(*), min(created) FROM events").fetchone()
        notes = dict(connection.execute("SELECT name, value FROM notes"))
        return OutboxStatus(
            path=self.path,
            depth=depth,
            oldest_seconds=None if oldest is None else max(0.0, self._clock() - oldest),
            bytes=rows.used_bytes(connection),
            times_full=rows.counter(connection, "refused"),
            dead_letters=rows.number(connection, "SELECT count(*) FROM dead_letters"),
            delivered=rows.counter(connection, "delivered"),
            error=notes.get(rows.ERROR) or notes.get(rows.CALLER_REFUSED),
            caller_refused=rows.CALLER_REFUSED in notes,
        )

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The oldest of the events that were refused for ever."""
        return self._file.query(lambda connection: rows.dead_letters(connection, limit))

    def retry_dead_letters(self) -> int:
        """Puts every dead letter back, behind what waits, to be sent once more; how many there were."""
        return self._file.run(rows.retry_dead_letters)

    def count(self, session: str) -> int:
        """How many events of the session wait to be sent."""
        return len(self._file.query(lambda connection: rows.of_session(connection, "events", session)))

    def count_dead_letters(self, session: str) -> int:
        """How many events of the session were refused for ever."""
        return len(self._file.query(lambda connection: rows.of_session(connection, "dead_letters", session)))

    def discard_dead_letters(self, session: str) -> int:
        """Deletes what was refused for ever of the session, and says how many that were."""
        return self._file.run(lambda connection: rows.discard_dead_letters(connection, session))

    def note_error(self, error: str, *, caller_refused: bool = False) -> None:
        """Keeps what the relay met last where every process can read it, until the next delivery."""
        self._file.run(lambda connection: rows.note(connection, error, caller_refused))

    def tidy(self) -> bool:
        """Gives freed pages back and empties the write-ahead log, so that what was delivered is gone from the disk; False
        when another process is reading or writing just now, and it must be done again."""
        return self._file.query(rows.tidy)

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        self._file.close()
