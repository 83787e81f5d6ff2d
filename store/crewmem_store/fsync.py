"""Making files durable on a disk. Raises OSError."""

from __future__ import annotations

import contextlib
import glob
import os
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

DRAFT_SUFFIX = ".new"
LEFT_SECONDS = 3600.0
"""A draft this old is nobody's any more; a writer that slept for longer is told that its draft is gone."""


def write_durably(path: Path, data: bytes) -> None:
    """All of it or nothing: the file is on the disk once it has its name. Only its owner can read it.

    Of processes that write it at once the last one's stays: each has a draft of its own. Drafts that killed ones left go.
    """
    _remove_left_drafts(path)
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", suffix=DRAFT_SUFFIX, delete=False) as file:
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


def _remove_left_drafts(path: Path) -> None:
    before = time.time() - LEFT_SECONDS
    for draft in path.parent.glob(f"{glob.escape(path.name)}.*{DRAFT_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):  # another writer removed it, or it has its name now
            if draft.stat().st_mtime < before:
                draft.unlink()


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
