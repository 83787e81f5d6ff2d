"""One tenant does its worst over real HTTP; another one's calls are all answered. Counted in answers, never timed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, to_json
from crewmem_producers.connect import open_registry
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.settings import ServiceSettings, load
from crewmem_store import keys
from support.live import live_service

HANG_SECONDS = 120
CALLERS = 300
RECALLS = 10


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[tuple[str, str, str]]:
    """Address, the abuser's key, the other's key."""
    with live_service(tmp_path) as live:
        registry = open_registry(load(ServiceSettings, home=tmp_path))
        await registry.start()
        other = await keys.create(registry, tenant="other", name="other", sessions=keys.EVERY_SESSION, rights=keys.ALL_RIGHTS)
        await registry.close()
        yield live.base_url, live.api_key, other


def caller(url: str, key: str, connections: int = 10) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=HANG_SECONDS)


async def others_calls(url: str, key: str) -> Counter[int]:
    """The statuses of another tenant's remember and recalls, and of the probes, one after another."""
    found: Counter[int] = Counter()
    async with caller(url, key) as client:
        made = await client.post("/v1/memory/remember", json={"content": "acme is mine", "wait_seconds": 30})
        assert made.status_code == 201, made.text
        for _ in range(RECALLS):
            answer = await client.post("/v1/memory/recall", json={"q": "acme", "after": "latest", "wait_seconds": 20})
            found[answer.status_code] += 1
            assert answer.json()["count"] == 1 and answer.json()["fresh"] is True
            found[(await client.get("/health/ready")).status_code] += 1
        found[(await client.get("/metrics")).status_code] += 1
    return found


@contextlib.asynccontextmanager
async def abused(url: str, key: str, request: dict[str, Any], *, hang_up: bool = False) -> AsyncIterator[Counter[int]]:
    """CALLERS that ask again and again; gives the statuses of their answers."""
    answers: Counter[int] = Counter()

    async def one(client: httpx.AsyncClient) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                response = await client.request(**request, timeout=0.05 if hang_up else HANG_SECONDS)
                answers[response.status_code] += 1
                if response.status_code in (429, 503):
                    assert int(response.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.2)

    async with caller(url, key, CALLERS) as client:
        tasks = [asyncio.create_task(one(client)) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        try:
            yield answers
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


def recall(**fields: Any) -> dict[str, Any]:
    return {"method": "POST", "url": "/v1/memory/recall", "json": {"q": "acme " * 50, **fields}}


TOKEN = ",".join(f"1.0.e.unknown-{number}" for number in range(100))


@pytest.mark.parametrize(
    ("request_", "hang_up"),
    [
        (recall(), False),
        (recall(), True),
        (recall(after=TOKEN, wait_seconds=30), False),
        (recall(after=TOKEN, wait_seconds=30), True),
        (recall(after="1.0.999999", wait_seconds=30), False),
        ({"method": "DELETE", "url": "/v1/memory/forget/unknown?wait_seconds=0"}, False),
        ({"method": "GET", "url": "/v1/memory/list?session=*"}, False),
    ],
    ids=["recalls", "hangs up", "tokens", "tokens and hangs up", "waits", "forgets", "lists"],
)
async def test_three_hundred_callers_of_a_tenant_stop_no_other(
    service: tuple[str, str, str], request_: dict[str, Any], hang_up: bool
) -> None:
    url, abuser, other = service
    async with abused(url, abuser, request_, hang_up=hang_up) as answers:
        found = await asyncio.wait_for(others_calls(url, other), HANG_SECONDS)
    assert found == {200: 2 * RECALLS + 1}
    assert set(answers) <= {200, 404, 429, 504}, answers  # 504: the view is behind what the other has just remembered


async def test_a_flood_of_events_puts_off_anothers_memory_by_its_share_only(service: tuple[str, str, str]) -> None:
    url, abuser, other = service
    batch = [
        to_json(Event(body=MemoryRemembered(content=f"note {n} of many"), scope=Scope.of("x", f"s{n}"), source="h"))
        for n in range(500)
    ]
    request = {"method": "POST", "url": "/v1/events", "content": json.dumps(batch).encode()}
    async with caller(url, abuser, 40) as client:
        headers = {"content-type": BATCH_CONTENT_TYPE}
        answers = Counter(
            one.status_code for one in await asyncio.gather(*(client.request(**request, headers=headers) for _ in range(40)))
        )
    assert set(answers) == {200, 429} and answers[200] < 20, answers
    assert await asyncio.wait_for(others_calls(url, other), HANG_SECONDS) == {200: 2 * RECALLS + 1}
