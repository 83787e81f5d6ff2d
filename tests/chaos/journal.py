"""A publisher's journal: what it meant to publish and what `publish()` acknowledged, on disk before it goes on."""

from __future__ import annotations

import os
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


def read(path: Path) -> Journaled:
    """What the journal says; a file that is not there says nothing."""
    found, meant = Journaled(), list[range]()
    for line in path.read_text().splitlines() if path.exists() else []:
        what, start, stop = line.split()
        run = range(int(start), int(stop))
        if what == INTENDED:
            meant.append(run)
            found.next = max(found.next, run.stop)
        else:
            found.acknowledged.update(run)
    found.open = [run for run in dict.fromkeys(meant) if run.stop > run.start and run.start not in found.acknowledged]
    return found
