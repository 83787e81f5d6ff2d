"""A line in the log for what is refused, at most two a minute for each code and address, and a count of all."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from prometheus_client import Counter
from starlette.types import Scope

from crewmem_store.errors import InvalidKey, RequestRefused

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
MOST_WINDOWS = 1_000
"""Codes and addresses that are told apart in a minute; all further ones share a line."""
LOGGED = frozenset({401, 403, 408, 413, 429})
_KEY_DIGITS = 8
_PATH_CHARACTERS = 100


@dataclass(slots=True)
class _Window:
    line: str
    repeats: int = 0


class Refusals:
    """Belongs to one event loop."""

    def __init__(self, counter: Counter) -> None:
        """`counter` has the label `code`."""
        self._counter = counter
        self._windows: dict[tuple[str, str], _Window] = {}

    def note(self, error: Exception, scope: Scope, *, key_hash: str | None) -> None:
        """Log and count the refusal of a call; other errors are left out. The key itself is never logged."""
        status, code = _code(error)
        if status not in LOGGED:
            return
        self._counter.labels(code).inc()
        address = address_of(scope)
        place = (code, address)
        if place not in self._windows and len(self._windows) >= MOST_WINDOWS:
            place, address = (code, ""), "other addresses"
        if (window := self._windows.get(place)) is not None:
            window.repeats += 1
            return
        key = f"key {key_hash[:_KEY_DIGITS]}" if key_hash else "no known key"
        line = f"refused {status} {code} to {address}, {key}: {scope['method']} {scope['path'][:_PATH_CHARACTERS]!r}"
        self._windows[place] = _Window(line)
        logger.warning("%s", line)
        asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._over, place)

    def _over(self, place: tuple[str, str]) -> None:
        window = self._windows.pop(place)
        if window.repeats:
            logger.warning("%s, and %d more of this code and address in %.0f s", window.line, window.repeats, WINDOW_SECONDS)


def address_of(scope: Scope) -> str:
    """Whom a call comes from: an IPv4 address, or the /64 network of an IPv6 one, of which a host has as many as it likes."""
    client = scope.get("client")
    text = client[0] if client else "an unknown address"
    try:
        address = ip_address(text)
    except ValueError:
        return str(text)[:_PATH_CHARACTERS]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def _code(error: Exception) -> tuple[int, str]:
    if isinstance(error, RequestRefused):
        return error.status, error.code
    return (401, "invalid_api_key") if isinstance(error, InvalidKey) else (0, "")
