"""What a caller without a key, or with the slowest line, can make the service do: over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from crewmem_producers.limits import HTTP_HEADER_BYTES
from crewmem_store.service import http_protocol
from crewmem_store.service.server import served
from fastapi import FastAPI, Request

HANG_SECONDS = 60
CONNECTIONS = 10


class Served:
    def __init__(self) -> None:
        self.app, self.port, self.calls = FastAPI(), 0, 0
        self.free = asyncio.Event()

        @self.app.get("/quick")
        async def quick() -> str:
            self.calls += 1
            return "quick"

        @self.app.get("/held")
        async def held() -> str:
            self.calls += 1
            await self.free.wait()
            return "held"

        @self.app.get("/large")
        async def large() -> str:
            return "x" * 50_000_000

        @self.app.post("/body")
        async def body(request: Request) -> int:
            return len(await request.body())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def server() -> AsyncIterator[Served]:
    made = Served()
    async with served(made.app, host="127.0.0.1", port=0, max_connections=CONNECTIONS) as made.port:
        yield made
        made.free.set()


async def answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and error code of an answer that ends its connection."""
    raw = await asyncio.wait_for(reader.read(), HANG_SECONDS)
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


async def quick(server: Served) -> bytes:
    reader, writer = await server.connect()
    writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), HANG_SECONDS)
    writer.close()
    return raw.split(b"\r\n")[0]


async def pour(writer: asyncio.StreamWriter, chunk: bytes, most: int) -> int:
    """Write until the other side takes no more; how much it took."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most:
            writer.write(chunk)
            await asyncio.wait_for(writer.drain(), HANG_SECONDS)
            sent += len(chunk)
    return sent


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: x\r\nX-Endless: ", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_an_endless_head_is_refused_in_our_shape_and_cut_off(server: Served, start: bytes) -> None:
    reader, writer = await server.connect()
    writer.write(start)
    chunk = b"A: b\r\n" * 10_000 if start.endswith(b"\n") else b"a" * 65_536
    sent = await pour(writer, chunk, 300_000_000)
    assert sent < 50_000_000  # what kernels buffer, and what is taken until the caller can have seen the answer
    with contextlib.suppress(ConnectionError):
        assert await answer(reader) == (431, "too_large")
    assert b" 200 " in await quick(server)


async def test_a_head_up_to_the_bound_is_taken(server: Served) -> None:
    reader, writer = await server.connect()
    long = b"a" * (HTTP_HEADER_BYTES - 200)
    writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: " + long + b"\r\n\r\n")
    assert b" 200 " in await asyncio.wait_for(reader.readline(), HANG_SECONDS)
    writer.close()


async def test_what_is_no_http_is_400_in_our_shape(server: Served) -> None:
    reader, writer = await server.connect()
    writer.write(b"what is this\r\n\r\n")
    assert await answer(reader) == (400, "invalid_request")
    writer.close()


async def test_a_head_that_trickles_is_cut_off(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    reader, writer = await server.connect()
    trickling = asyncio.create_task(trickle(writer))
    assert await answer(reader) == (408, "timeout")
    trickling.cancel()


async def trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /quick HTTP/1.1\r\nX: ")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.02)


async def test_an_idle_connection_makes_room_for_a_new_one(server: Served) -> None:
    idle = [await server.connect() for _ in range(CONNECTIONS)]
    for _ in range(3 * CONNECTIONS):
        assert b" 200 " in await quick(server)
    assert await asyncio.wait_for(idle[0][0].read(), HANG_SECONDS) == b""
    for _, writer in idle:
        writer.close()


async def test_when_every_connection_has_a_call_in_progress_the_next_is_503_and_all_go_on(server: Served) -> None:
    held = [await server.connect() for _ in range(CONNECTIONS)]
    for _, writer in held:
        writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(HANG_SECONDS):
        while server.calls < CONNECTIONS:
            await asyncio.sleep(0.01)
    reader, writer = await server.connect()
    writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), HANG_SECONDS)
    assert b" 503 " in raw.split(b"\r\n")[0] and b"retry-after: 1" in raw and b'"error":"unavailable"' in raw
    server.free.set()
    for reader, writer in held:
        assert b" 200 " in await asyncio.wait_for(reader.readline(), HANG_SECONDS)
        writer.close()


async def test_a_body_that_no_route_asked_for_is_not_read_on_for_ever(server: Served) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
    assert b" 200 " in await asyncio.wait_for(reader.readline(), HANG_SECONDS)
    assert await pour(writer, b"a" * 65_536, 300_000_000) < 50_000_000


async def test_a_connection_goes_on_when_the_rest_of_such_a_body_comes(server: Served) -> None:
    reader, writer = await server.connect()
    for _ in range(3):
        writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HANG_SECONDS)
        assert b" 200 " in head
        await reader.readexactly(len(b'"quick"'))
        writer.write(b"0123456789")
    writer.close()


async def test_a_caller_that_does_not_read_its_answer_is_cut_off(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "WRITE_SECONDS", 0.2)
    reader, writer = await server.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.sleep(1)
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        assert len(await asyncio.wait_for(reader.read(), HANG_SECONDS)) < 50_000_000
    writer.close()


async def test_a_body_is_read_whole(server: Served) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000)
    raw = await asyncio.wait_for(reader.read(), HANG_SECONDS)
    assert raw.endswith(b"3000000")
    writer.close()
