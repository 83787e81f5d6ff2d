"""Tenants that publish at the same time: who is refused, and who goes on, counted in answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, to_json
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from support.service import NOON, Stack, refused_with, running_stack

BATCH = 500


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path, partitions=1) as running:
        yield running


async def post(stack: Stack, key: str, *, start: int = 0) -> httpx.Response:
    batch = [
        to_json(Event(body=MemoryRemembered(content=f"note {n}"), scope=Scope.of("x", f"s{n % 7}"), time=NOON, source="h"))
        for n in range(start, start + BATCH)
    ]
    headers = {"content-type": BATCH_CONTENT_TYPE}
    return await stack.call("POST", "/v1/events", key=key, content=json.dumps(batch).encode(), headers=headers)


async def test_a_tenant_that_floods_is_asked_to_wait_and_anothers_memory_is_decided_after_its_share(stack: Stack) -> None:
    abuser, other = await stack.key(tenant="abuser"), await stack.key(tenant="other")
    answers = [await post(stack, abuser, start=BATCH * n) for n in range(40)]
    taken = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 1 <= len(taken) <= 3
    for answer in refused:
        refused_with(answer, 429, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
    made = await stack.call("POST", "/v1/memory/remember", key=other, json={"content": "mine", "wait_seconds": 0})
    assert made.status_code == 202
    [end] = (await stack.log.end()).values()
    assert end <= BATCH * 3 + 1
    await stack.consume()
    assert len(await stack.recall("mine", key=other)) == 1


async def test_the_same_tenants_memory_is_refused_and_its_forget_is_not(stack: Stack) -> None:
    abuser = await stack.key(tenant="abuser")
    memory = await stack.remember("to be forgotten", key=abuser)
    for n in range(4):
        await post(stack, abuser, start=BATCH * n)
    refused = await stack.call("POST", "/v1/memory/remember", key=abuser, json={"content": "more", "wait_seconds": 0})
    refused_with(refused, 429, "busy")
    forgotten = await stack.call("DELETE", f"/v1/memory/forget/{memory['id']}?wait_seconds=0", key=abuser)
    assert forgotten.status_code == 202


async def test_once_consumers_have_caught_up_the_rest_is_taken(stack: Stack) -> None:
    key = await stack.key(tenant="alone")
    sent, refused = 0, 0
    while sent < 8:
        answer = await post(stack, key, start=BATCH * sent)
        sent += answer.status_code == 200
        if answer.status_code == 429:
            refused += 1
            assert refused < 100
            await stack.consume()
    assert (await stack.log.end())[0] == 8 * BATCH
