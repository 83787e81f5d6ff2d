"""Which process sends for an outbox: whoever holds a file lock that the kernel frees when its holder dies."""

from __future__ import annotations

import threading
from pathlib import Path

from filelock import FileLock, Timeout

from crewmem_producers import forks
from crewmem_producers.errors import OutboxBroken


class RelayLock:
    """Thread-safe. Let go of at a fork, since a child would otherwise hold it for as long as it lives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._gate = threading.Lock()
        self._lock = self._new()
        forks.watch(self)

    def acquire(self) -> bool:
        """Whether this process holds the lock now; never waits. Raises OutboxBroken when the folder cannot be used."""
        with self._gate:
            if self._lock.is_locked:
                return True
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock.acquire(timeout=0)
            except Timeout:
                return False
            except (OSError, NotImplementedError) as error:
                raise OutboxBroken(f"no lock can be had on {self._path}: {error}; set CREWMEM_OUTBOX_DIR") from error
            return True

    def release(self) -> None:
        """Lets another process send; does nothing when the lock is not held."""
        with self._gate:
            self._lock.release(force=True)

    def before_fork(self) -> None:
        self._gate.acquire()
        self._lock.release(force=True)

    def after_fork_in_parent(self) -> None:
        self._gate.release()

    def after_fork_in_child(self) -> None:
        self._gate = threading.Lock()
        self._lock = self._new()

    def _new(self) -> FileLock:
        return FileLock(self._path, thread_local=False)  # a fork lets go of it from another thread than the relay's
