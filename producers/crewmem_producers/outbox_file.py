"""The SQLite file of an outbox: opened at first use, let go of at a fork, set aside when it is damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from crewmem_producers import forks, sqlite
from crewmem_producers.compat import UTC
from crewmem_producers.errors import OutboxBroken
from crewmem_producers.sqlite import connect, transaction

log = logging.getLogger(__name__)

BUSY_SECONDS = 10.0
"""How long a write waits for another process's; each takes milliseconds."""

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL, body BLOB NOT NULL
);
-- counts and ages without reading bodies
CREATE INDEX IF NOT EXISTS events_created ON events (created);
CREATE TABLE IF NOT EXISTS delivered (seq INTEGER PRIMARY KEY, token TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dead_letters (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID
"""
_DAMAGED = frozenset({sqlite.SQLITE_CORRUPT, sqlite.SQLITE_NOTADB})
_REMEDIES = {
    sqlite.SQLITE_FULL: "the disk is full: free some of it, or set CREWMEM_OUTBOX_DIR to another volume",
    sqlite.SQLITE_READONLY: "it may not be written: mend its rights, or set CREWMEM_OUTBOX_DIR to a folder of your own",
    sqlite.SQLITE_CANTOPEN: "it cannot be opened: check the folder's rights, or set CREWMEM_OUTBOX_DIR",
    sqlite.SQLITE_BUSY: "another process holds it: see who has the file open",
}

T = TypeVar("T")


class OutboxFile:
    """One file, used by many processes at once. Thread-safe; every use is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        forks.watch(self)

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in one write transaction, on disk when this returns.

        A damaged file is set aside, with an error in the log, and `work` is done on a new one. Raises OutboxBroken.
        """

        def whole(connection: sqlite3.Connection) -> T:
            with transaction(connection):
                return work(connection)

        return self._guarded(whole)

    def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` outside of a transaction: single reads, and pragmas that refuse to be in one. Raises OutboxBroken."""
        return self._guarded(work)

    def close(self) -> None:
        """Closes the connection; the next use opens it again."""
        with self._mutex:
            self._disconnect()

    def before_fork(self) -> None:
        self._mutex.acquire()
        self._disconnect()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        self._mutex = threading.Lock()

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex:
            try:
                try:
                    return work(self._connected())
                except sqlite3.DatabaseError as error:
                    if sqlite.error_code(error) not in _DAMAGED:
                        raise
                    self._set_aside(error)
                    return work(self._connected())
            except sqlite3.Error as error:
                self._disconnect()  # a connection that failed may hold a half-done transaction
                raise _broken(self.path, error) from error
            except (OSError, Timeout) as error:
                raise OutboxBroken(f"the outbox {self.path} cannot be used: {error}; set CREWMEM_OUTBOX_DIR") from error

    def _connected(self) -> sqlite3.Connection:
        """The open connection; a new one if there is none, or if the file is no longer the one that was opened."""
        if self._connection is not None and self._identity == _identity(self.path):
            return self._connection
        if self._connection is not None:
            log.error("the outbox %s was removed or replaced while in use; what waited in it is gone with it", self.path)
            self._disconnect()
        with self._opening():
            self._identity = _create(self.path)
            self._connection = connect(
                self.path, schema=_SCHEMA, version=SCHEMA_VERSION, busy_seconds=BUSY_SECONDS, shrinks=True, newer=OutboxBroken
            )
        return self._connection

    def _opening(self) -> FileLock:
        """One process at a time creates, opens or sets aside the file."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(f"{self.path}.open", timeout=BUSY_SECONDS)

    def _set_aside(self, error: sqlite3.Error) -> None:
        damaged = self._identity
        self._disconnect()
        with self._opening():
            if damaged != _identity(self.path):
                return  # another process was faster
            aside = self.path.with_name(f"{self.path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}")
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        log.error(
            "the outbox %s is damaged (%s). It was set aside as %s, nothing of it was deleted, and a new one was begun. "
            "`sqlite3 %s .recover` shows which events it still holds",
            self.path, error, aside, aside,
        )  # fmt: skip

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # what was committed is on disk, whatever closing meets
                connection.close()


def _create(path: Path) -> tuple[int, int]:
    """Makes the file, readable by its owner only, if it is not there. Its device and inode.

    A file that is there is never opened here: closing it would take away the locks that SQLite holds on it for another
    connection of this process, and the next process to leave would remove the write-ahead log under it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _broken(path: Path, error: sqlite3.Error) -> OutboxBroken:
    remedy = _REMEDIES.get(sqlite.error_code(error), "check its disk, or set CREWMEM_OUTBOX_DIR to another volume")
    return OutboxBroken(f"the outbox {path} cannot be used ({error}): {remedy}")
