"""Where the `crewmem up` of a home folder listens: it writes its address beside its key, and the crews of the machine read it.

An address counts only while `up` runs, which its lock tells (the kernel frees that when the process dies), and only on the
machine that wrote it: a folder may be mounted into containers, where the same address leads elsewhere.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

LOCK_NAME = "up.lock"
NAME = "address"


def write(home: Path, url: str) -> None:
    """Note the address, readable by its owner only; whole or not at all. Raises OSError."""
    partial = home / f".{NAME}.{os.getpid()}"
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": url, "host": socket.gethostname()}, file)
    partial.replace(home / NAME)


def remove(home: Path) -> None:
    """Forget the address."""
    (home / NAME).unlink(missing_ok=True)


def address(home: Path) -> str | None:
    """The address of the `up` that runs on this folder and this machine; None without one, or where that cannot be read."""
    try:
        noted = json.loads((home / NAME).read_text("utf-8"))
        url, host = str(noted["url"]), noted["host"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if host == socket.gethostname() and _runs(home) else None


def _runs(home: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: nothing tells without taking the lock
        return True
    try:
        with (home / LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # freed when the file closes
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
