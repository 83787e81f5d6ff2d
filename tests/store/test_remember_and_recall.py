"""The table of REST calls, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.service import Stack, refused_with, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


async def test_what_is_remembered_is_recalled_first_with_its_score(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("The office has a blue door", key=key, session="project_alpha")
    made = await stack.remember("Competitor analysis complete: Acme Corp lacks API docs", key=key, session="project_alpha")
    assert set(made) == {"id", "content", "session", "metadata", "created_at"}

    response = await stack.call("GET", "/v1/memory/recall?q=competitor+analysis&session=project_alpha", key=key)

    body = response.json()
    assert set(body) == {"memories", "count", "query"}
    assert body["count"] == len(body["memories"]) == 2 and body["query"] == "competitor analysis"
    first = body["memories"][0]
    assert first["content"] == "Competitor analysis complete: Acme Corp lacks API docs"
    assert first["id"] == made["id"] and 0 < first["score"] <= 1
    assert first["score"] > body["memories"][1]["score"]


async def test_what_the_view_does_not_show_in_time_is_202_with_a_token(stack: Stack) -> None:
    key = await stack.key()
    response = await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "late", "wait_seconds": 0})
    assert response.status_code == 202
    body = response.json()
    assert set(body) == {"id", "token", "session"} and body["session"] == "shared"
    await stack.consume()
    fresh = await stack.call("GET", "/v1/memory/recall", key=key, params={"q": "late", "after": body["token"]})
    assert fresh.json()["fresh"] is True
    assert [memory["id"] for memory in fresh.json()["memories"]] == [body["id"]]


async def test_a_repeat_is_answered_with_the_memory_that_it_repeats(stack: Stack) -> None:
    key = await stack.key()
    first = await stack.remember("Twice told", key=key)
    again = await stack.remember("Twice told", key=key)
    assert again["id"] == first["id"] and again["duplicate"] is True
    assert "duplicate" not in first


async def test_an_unknown_key_is_401(stack: Stack) -> None:
    refused_with(await stack.call("GET", "/v1/memory/list", key=None), 401, "missing_api_key")
    refused_with(await stack.call("GET", "/v1/memory/list", key="am_live_" + "0" * 32), 401, "invalid_api_key")
