"""What `crewmem up` holds while it runs: its home folder, its address, and the key that it keeps."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crewmem_producers import local_service
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import API_KEY_NAME

from crewmem.cli.errors import AddressInUse, HomeInUse

_PID_FILE = "up.pid"
_LOCK_SECONDS = 0.5
"""How long the lock is tried: a crew that looks whether `up` runs holds it for a moment."""


@contextmanager
def hold_home(home: Path) -> Iterator[None]:
    """Makes the folder (0700) and holds it for this process; the kernel lets go of it when the process dies.

    What is written meanwhile can be read by its owner only, also in a folder that was there before and is open to others.
    Raises HomeInUse; SettingsError for a folder that cannot be made or written to.
    """
    from filelock import FileLock, Timeout

    with remedied(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(home / local_service.LOCK_NAME)
        try:
            lock.acquire(timeout=_LOCK_SECONDS)
        except Timeout as error:
            raise HomeInUse(
                f"another `crewmem up`{_holder(home)} runs on {home}: stop that one, or choose another folder with --home"
            ) from error
    before = os.umask(0o077)
    try:
        with remedied(home):
            (home / _PID_FILE).write_text(str(os.getpid()), "utf-8")
        yield
    finally:
        os.umask(before)
        with suppress(OSError):  # what ends this command is more important
            local_service.remove(home)
            (home / _PID_FILE).unlink(missing_ok=True)
        lock.release()


@contextmanager
def remedied(home: Path) -> Iterator[None]:
    """What the system says of the disk, as SettingsError with what to do. Raises that."""
    try:
        yield
    except OSError as error:
        raise SettingsError(f"CREWMEM_HOME: {home} cannot be used: {error.strerror or error}. {disk_remedy(error)}") from error


def disk_remedy(error: OSError) -> str:
    """What to do about a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space, or name a folder on another volume with --home"
    if error.errno == errno.EROFS:
        return "Its file system is read-only: name a folder on another one with --home"
    return "Name a folder that this user may write to with --home"


def _holder(home: Path) -> str:
    try:
        return f" (process {int((home / _PID_FILE).read_text('utf-8'))})"
    except (OSError, ValueError):
        return ""


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to that address (port 0: a free one), not listening yet. Raises AddressInUse, SettingsError."""
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if bound is not None:
            bound.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"something listens on {host}:{port} already: stop it, or choose another port with --port {port + 1}"
            ) from error
        raise SettingsError(f"CREWMEM_HOST: the service cannot listen on {host}:{port}: {error.strerror}") from error
    return bound


def kept_key(home: Path) -> str | None:
    """The key in the home folder, or None when there is none."""
    path = home / API_KEY_NAME
    return (path.read_text("utf-8").strip() or None) if path.is_file() else None


def keep(home: Path, name: str, key: str) -> None:
    """Writes a key so that only its owner reads it; whole or not at all, also when the process is killed meanwhile.
    Raises SettingsError."""
    partial = home / f".{name}.{os.getpid()}"
    with remedied(home):
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(key + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(home / name)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
