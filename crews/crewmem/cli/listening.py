"""By which addresses a service is reached that listens on a host and a port."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
"""A host that means every address of this machine -> the one that a process of this machine calls."""
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def local_url(url: str) -> str:
    """The address for a process of this machine."""
    parts = urlsplit(url)
    return f"http://{_ANY[parts.hostname]}:{parts.port}" if parts.hostname in _ANY else url


def public_url(url: str) -> str:
    """The address to show: where the service listens on every address, the one that other machines call, by its number."""
    parts = urlsplit(url)
    return f"http://{_own_address()}:{parts.port}" if parts.hostname in _ANY else url


def in_container() -> bool:
    """Whether this process runs in a container, whose loopback address no one else reaches."""
    return any(Path(mark).exists() for mark in _CONTAINER_MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ


def _own_address() -> str:
    """The address by which this machine reaches others; its name where it has none but loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: the system chooses the interface
            own = str(probe.getsockname()[0])
        except OSError:
            own = ""
    return own if own and not own.startswith(("127.", "0.")) else socket.gethostname()
