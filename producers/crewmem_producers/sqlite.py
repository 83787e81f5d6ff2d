"""A SQLite file that many processes share: opened durably, used from one thread, its errors mapped."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from crewmem_producers import forks
from crewmem_producers.errors import CrewmemError, LogRefused, Unavailable

FILE_VERSION = 1
"""`user_version` of the file; an older program refuses a newer file."""

BUSY_SECONDS = 30.0
"""How long a write waits for another process's write."""

SQLITE_ERROR, SQLITE_BUSY, SQLITE_READONLY, SQLITE_IOERR, SQLITE_CORRUPT = 1, 5, 8, 10, 11
SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_NOTADB = 13, 14, 26
"""https://sqlite.org/rescode.html"""
_WORDS = {
    "is locked": SQLITE_BUSY,
    "readonly database": SQLITE_READONLY,
    "disk I/O error": SQLITE_IOERR,
    "malformed": SQLITE_CORRUPT,
    "disk is full": SQLITE_FULL,
    "unable to open": SQLITE_CANTOPEN,
    "not a database": SQLITE_NOTADB,
}

T = TypeVar("T")


class Database:
    """One connection to the file, on a thread of its own: calls from any coroutine queue up and none blocks the loop.

    `unavailable` is what an error of SQLite becomes. A fork closes the connection for as long as it takes: the parent opens it
    again at the next call, and in the child the database is closed.
    """

    def __init__(self, path: Path, *, schema: str, unavailable: type[Unavailable]) -> None:
        self._path = path
        self._schema = schema
        self._unavailable = unavailable
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._mutex = threading.Lock()
        """Held by whoever uses the connection."""
        forks.watch(self)

    async def open(self) -> None:
        """Opens the file, made with its folder when it is not there. Raises `unavailable`; LogRefused for another file."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{self._path.stem}")
        try:
            await asyncio.wrap_future(self._thread.submit(self._call, lambda connection: None))
        except BaseException:
            await self.close()
            raise

    async def run(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """What `call` returns, called with the connection on its thread. Raises `unavailable` for errors of SQLite."""
        thread = self._thread
        if thread is None:
            raise self._unavailable(f"{self._path} is not open")
        try:
            return await asyncio.wrap_future(thread.submit(self._call, call))
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def failed(self, error: BaseException) -> Unavailable:
        """What is raised instead of an error that SQLite, or whatever else a call used, has raised."""
        return self._unavailable(f"{self._path}: {str(error) or type(error).__name__}{disk_remedy(error)}")

    async def close(self) -> None:
        """Waits for the calls that were made before; safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        await asyncio.wrap_future(thread.submit(self._disconnect))
        thread.shutdown(wait=False)

    def before_fork(self) -> None:
        self._mutex.acquire()
        self._close_connection()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        self._mutex = threading.Lock()
        self._thread = None  # it is not there

    def _call(self, call: Callable[[sqlite3.Connection], T]) -> T:
        with self._mutex:
            if self._connection is None:
                self._connection = self._connect()
            return call(self._connection)

    def _disconnect(self) -> None:
        with self._mutex:
            self._close_connection()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return connect(self._path, schema=self._schema)
        except (OSError, sqlite3.OperationalError) as error:
            raise self._unavailable(f"{self._path} cannot be opened: {error}{disk_remedy(error)}") from error
        except sqlite3.DatabaseError as error:
            raise LogRefused(f"{self._path} is no file of crewmem ({error}): move it away or name another home") from error


def error_code(error: BaseException) -> int:
    """The primary result code of SQLite, one of those above; SQLITE_ERROR where none is known.

    Python 3.10 tells no code: there it is found by SQLite's own words, which have been the same since 2010.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return int(code) & 0xFF  # without what extends it
    said = str(error)
    return next((code for words, code in _WORDS.items() if words in said), SQLITE_ERROR)


def disk_remedy(error: BaseException) -> str:
    """What to do about an error of the disk, as the end of a sentence; nothing for any other error."""
    if error_code(error) == SQLITE_FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ". Free some space on that disk, or name a home on another one (CREWMEM_HOME)"
    if error_code(error) == SQLITE_READONLY or getattr(error, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ". This user may not write there: change the rights of the folder, or name another home (CREWMEM_HOME)"
    if error_code(error) in (SQLITE_CANTOPEN, SQLITE_IOERR):
        return ". Check the folder's rights and that its disk has space, or name another home (CREWMEM_HOME)"
    return ""


def _busy(error: BaseException) -> bool:
    """Whether the file was busy in a way that SQLite's own waiting does not cover: two processes switch a new file to WAL."""
    return isinstance(error, sqlite3.OperationalError) and error_code(error) == SQLITE_BUSY


@retry(retry=retry_if_exception(_busy), stop=stop_after_delay(10), wait=wait_random(0, 0.1), reraise=True)
def connect(
    path: Path, *, schema: str, version: int = FILE_VERSION, busy_seconds: float = BUSY_SECONDS, shrinks: bool = False,
    newer: type[CrewmemError] = LogRefused,
) -> sqlite3.Connection:  # fmt: skip
    """A connection whose commits are on disk when they return, and which leaves no bytes of what it deletes.

    `schema`, statements with `;` between, is run inside one transaction. `version` is the newest `user_version` that the
    caller knows; with `shrinks` a new file can give freed pages back. Raises sqlite3.Error, and `newer` for a file of a newer
    crewmem.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > version:
            raise newer(f"{path} was written by a newer crewmem (version {found} of the file): update this one")
        if shrinks and not found:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # holds only while the file is empty
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # an erased data key leaves no bytes behind
        with transaction(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
            if found < version:
                connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A write transaction that holds the file's one write lock from its start: rolled back by an error, else committed."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # the first error is the one to tell
                connection.execute("ROLLBACK")
        raise
