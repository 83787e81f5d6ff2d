"""What is counted of a caller: calls a minute, and bytes of a body while it is read. How many: `crewmem_producers.limits`."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import datetime

from crewmem_producers.limits import BATCH_BYTES, REQUEST_BYTES
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from crewmem_store.errors import RequestRefused

EVENTS_PATH = "/v1/events"


class RateLimit:
    """At most `per_minute` calls of one key in a minute of the clock; None: as many as it likes. Thread-safe."""

    def __init__(self, per_minute: int | None, *, clock: Callable[[], datetime]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._calls: dict[str, int] = {}

    def count(self, key_hash: str) -> None:
        """Counts a call. Raises RequestRefused (429) with the seconds until the next minute."""
        if self._per_minute is None:
            return
        now = self._clock().timestamp()
        with self._lock:
            if self._minute != (minute := int(now // 60)):
                self._minute, self._calls = minute, {}
            self._calls[key_hash] = calls = self._calls.get(key_hash, 0) + 1
        if calls > self._per_minute:
            wait = max(1, math.ceil(60 - now % 60))
            message = f"this key may call {self._per_minute} times a minute; try again in {wait} s"
            raise RequestRefused(429, "rate_limited", message, headers={"Retry-After": str(wait)})


async def read_body(receive: Receive, *, path: str, headers: Headers) -> bytes:
    """The whole body. Raises RequestRefused (413) as soon as it is too large, ClientDisconnect."""
    limit = BATCH_BYTES if path == EVENTS_PATH else REQUEST_BYTES
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(413, "too_large", f"the body is over {limit} bytes")
