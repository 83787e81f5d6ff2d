"""Making files durable on a disk. Raises OSError."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """All of it or nothing: the file is on the disk once it has its name. Only its owner can read it."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(0o600)
    draft.write_bytes(data)
    fsync(draft)
    draft.replace(path)
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
