"""Journals. A publisher's: what it meant to publish and what `publish()` acknowledged, on disk before it goes on. The
conductor's diary: what was done when."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

INTENDED, ACKNOWLEDGED = "i", "a"


@dataclass
class Journaled:
    """Event numbers: the next one that was never meant, those acknowledged, and runs that were meant and not acknowledged."""

    next: int = 0
    acknowledged: set[int] = field(default_factory=set)
    open: list[range] = field(default_factory=list)


class Journal:
    """Survives kill -9: each line is one write to the end of the file, and on disk when the call returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def intended(self, run: range) -> None:
        self._line(INTENDED, run)

    def acknowledged(self, run: range) -> None:
        self._line(ACKNOWLEDGED, run)

    def _line(self, what: str, run: range) -> None:
        os.write(self._file, f"{what} {run.start} {run.stop}\n".encode())
        os.fsync(self._file)


class Following:
    """A journal that is read while it is written: each look takes only what has come since the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._meant: dict[range, None] = {}
        self._said = Journaled()

    def look(self) -> Journaled:
        """What it says by now; a file that is not there says nothing."""
        if not self._path.exists():
            return self._said
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole + newline)
        for line in whole.decode().splitlines():
            what, start, stop = line.split()
            run = range(int(start), int(stop))
            if what == INTENDED:
                self._meant[run] = None
                self._said.next = max(self._said.next, run.stop)
            else:
                self._said.acknowledged.update(run)
                self._meant.pop(run, None)
        self._said.open = [run for run in self._meant if run.stop > run.start]
        return self._said


def read(path: Path) -> Journaled:
    """What the journal says now."""
    return Following(path).look()


class Diary:
    """One line for everything that was done, with the seconds since it was begun."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        with self._path.open("a") as out:
            out.write(f"{time.monotonic() - self._began:8.1f} {what}\n")
