"""What calls may take of a process while they last: places, and memory and time for their bodies. How large a body may be is
in `crewmem_producers.limits`."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from crewmem_producers.limits import BATCH_BYTES, REQUEST_BYTES
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from crewmem_store.errors import RequestRefused

EVENTS_PATH = "/v1/events"
BODY_SECONDS = 20.0
BODY_BYTES_PER_SECOND = 32 * 1024
"""A body may take BODY_SECONDS, and a second more for so many bytes that have come: a slow line is served, a trickle is not."""
TENANT_SHARE = 4
"""One tenant may have the bodies of its calls take one part in so many of the memory for bodies."""


class Share:
    """Amounts that calls of tenants hold while they last: at most `total` together, and `per_tenant` of one. Belongs to one
    event loop."""

    def __init__(self, *, total: int, per_tenant: int, what: str) -> None:
        self._total, self._per_tenant, self._what = total, per_tenant, what
        self._held: Counter[str] = Counter()
        self._sum = 0

    @contextlib.contextmanager
    def of(self, tenant: str) -> Iterator[Held]:
        """What one call holds, given back when it ends."""
        held = Held(self, tenant)
        try:
            yield held
        finally:
            self.give_back(tenant, held.amount)

    def take(self, tenant: str, amount: int) -> None:
        """Raise RequestRefused: 429 `busy` past the tenant's own part, 503 `unavailable` past all, both with Retry-After."""
        headers = {"Retry-After": "1"}
        if self._held[tenant] + amount > self._per_tenant:
            message = f"calls of this tenant hold {self._held[tenant]} {self._what} of {self._per_tenant}; try again in 1 s"
            raise RequestRefused(429, "busy", message, headers=headers)
        if self._sum + amount > self._total:
            message = f"calls hold {self._sum} {self._what} of {self._total}; try again in 1 s"
            raise RequestRefused(503, "unavailable", message, headers=headers)
        self._held[tenant] += amount
        self._sum += amount

    def give_back(self, tenant: str, amount: int) -> None:
        self._held[tenant] -= amount
        self._sum -= amount
        if not self._held[tenant]:
            del self._held[tenant]


class Held:
    """What one call holds of a share."""

    def __init__(self, share: Share, tenant: str) -> None:
        self._share, self._tenant = share, tenant
        self.amount = 0

    def take(self, amount: int) -> None:
        """Hold so much more. Raise RequestRefused (429, 503): then it holds what it held."""
        self._share.take(self._tenant, amount)
        self.amount += amount


async def read_body(receive: Receive, *, path: str, headers: Headers, held: Held) -> bytes:
    """The whole body, which `held` answers for.

    Raise RequestRefused: 413 as soon as it is too large, 408 when it comes too slowly, 429 and 503 when bodies take too much
    memory already. Raise ClientDisconnect.
    """
    limit = BATCH_BYTES if path == EVENTS_PATH else REQUEST_BYTES
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, began = 0, asyncio.get_running_loop().time()
    while True:
        message = await _next(receive, until=began + BODY_SECONDS + size / BODY_BYTES_PER_SECOND)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        held.take(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _next(receive: Receive, *, until: float) -> Message:
    try:
        async with asyncio.timeout_at(until):
            return await receive()
    except TimeoutError as error:
        raise RequestRefused(408, "timeout", "the body comes too slowly") from error


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(413, "too_large", f"the body is over {limit} bytes")
