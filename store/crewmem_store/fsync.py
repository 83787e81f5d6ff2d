"""Making files durable on a disk. Raises OSError."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile


def write_durably(path: Path, data: bytes) -> None:
    """All of it or nothing: the file is on the disk once it has its name. Only its owner can read it.

    Of processes that write it at once the last one's stays: each has a draft of its own.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", suffix=".new", delete=False) as file:
        draft = Path(file.name)
        try:
            file.write(data)
            file.flush()
            fsync(draft)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    fsync(path.parent)


def fsync(path: Path) -> None:
    """A file's bytes, or a folder's entries. Harmless when it is gone: a clean-up took it, and nothing of it counts."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
