"""The service on a real port, with collaborators that it opens itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import ServiceSettings, load
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.service import freshness
from crewmem_store.service.serve import serve

KEY = "am_live_" + "0123456789abcdef" * 2
HEADERS = {"Authorization": f"Bearer {KEY}"}


def settings_in(folder: Path, **fields: Any) -> ServiceSettings:
    return load(ServiceSettings, home=folder, admin_key=KEY, **{"port": 0, **fields})


@contextlib.asynccontextmanager
async def serving(settings: ServiceSettings) -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Task[None]]]:
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(settings, stop=stop, ready=url.set_result, embedder=HashingEmbedder()))
    try:
        await asyncio.wait([task, url], return_when=asyncio.FIRST_COMPLETED, timeout=60)
        if task.done():
            await task
        yield url.result(), stop, task
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def make_generation(settings: ServiceSettings) -> None:
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    await generations.ensure_first(registry, embedder=HashingEmbedder(), partitions=log.partitions)
    await log.close()
    await registry.close()


async def test_the_service_answers_with_what_it_opened_itself(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await make_generation(settings)
    async with serving(settings) as (url, _, _), httpx.AsyncClient(base_url=url, headers=HEADERS) as client:
        assert (await client.get("/health/ready")).json()["status"] == "ready"
        remembered = await client.post("/v1/memory/remember", json={"content": "a", "wait_seconds": 0})
        assert remembered.status_code == 202
        assert (await client.get("/v1/memory/recall", params={"q": "a"})).json()["memories"] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health/live")


async def test_a_call_in_flight_is_finished_when_the_service_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, released = asyncio.Event(), asyncio.Event()

    async def held(*_: Any, **__: Any) -> bool:
        entered.set()
        await released.wait()
        return False

    monkeypatch.setattr(freshness, "wait", held)
    settings = settings_in(tmp_path)
    await make_generation(settings)
    async with serving(settings) as (url, stop, task), httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=60) as client:
        waiting = asyncio.create_task(client.get("/v1/memory/recall", params={"q": "a", "after": "latest"}))
        await asyncio.wait_for(entered.wait(), 30)
        stop.set()
        await asyncio.sleep(0)
        assert not task.done()
        released.set()
        assert (await waiting).json()["fresh"] is False


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SettingsError, match="CREWMEM_PORT"):
        async with serving(settings_in(tmp_path, port=taken.getsockname()[1])):
            pass


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent_whole(tmp_path: Path) -> None:
    async with serving(settings_in(tmp_path)) as (url, _, _):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST /v1/memory/remember HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 999999999\r\n\r\n"
        )
        writer.write(head.encode() + b"{")
        status = await asyncio.wait_for(reader.readline(), 30)
        assert b" 413 " in status
        writer.close()


async def test_a_caller_that_hangs_up_in_the_middle_leaves_the_service_well(tmp_path: Path) -> None:
    async with serving(settings_in(tmp_path)) as (url, _, _), httpx.AsyncClient(base_url=url) as client:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/memory/remember HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 100\r\n\r\n"
        writer.write(head.encode() + b"{")
        await writer.drain()
        writer.close()
        assert (await client.get("/health/live")).status_code == 200


async def test_a_recall_that_waits_when_the_service_stops_is_answered_with_503_at_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await make_generation(settings)
    async with serving(settings) as (url, stop, _), httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=60) as client:
        await client.post("/v1/memory/remember", json={"content": "a", "wait_seconds": 0})
        question = {"q": "a", "after": "latest", "wait_seconds": 30}
        waiting = asyncio.create_task(client.get("/v1/memory/recall", params=question))
        assert (await client.get("/v1/memory/recall", params={**question, "wait_seconds": 0})).json()["fresh"] is False
        stop.set()
        answer = await waiting
        assert answer.status_code == 503 and answer.json()["error"] == "unavailable" and answer.headers["Retry-After"]
