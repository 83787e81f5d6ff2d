"""One HTTP answer, within a time and a size that hold for the whole of it.

httpx limits each read alone: a server that sends a byte now and then, in its headers or its body, would hold a call for as
long as it likes, and an answer without an end would fill the memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from crewmem_producers.compat import timeout

_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that hold for the bytes that were sent, no longer for those that are kept."""


async def fetch(
    client: httpx.AsyncClient, method: str, url: str, *, timeout_seconds: float, max_bytes: int, **request: Any
) -> httpx.Response:
    """Return the whole answer, decoded. `request` is what `httpx.AsyncClient.stream` takes.

    Raise httpx.ReadTimeout when it is not there within `timeout_seconds`, connection and name resolution included, and
    httpx.RemoteProtocolError when it is longer than `max_bytes`; else what httpx raises.
    """
    try:
        async with timeout(timeout_seconds), client.stream(method, url, **request) as response:
            body = await _body(response, max_bytes)
    except asyncio.TimeoutError as error:
        raise httpx.ReadTimeout(f"no whole answer within {timeout_seconds:g} s") from error
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_THE_WIRE]
    return httpx.Response(response.status_code, headers=headers, content=body, request=response.request)


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            raise httpx.RemoteProtocolError(f"the answer is longer than {max_bytes:,} bytes", request=response.request)
    return bytes(body)
