"""`after`: a recall waits for what was acknowledged before it, and says when it did not come."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_producers.freshness import Mark, format_token
from support.service import Stack, refused_with, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


async def accepted(stack: Stack, content: str, *, key: str, session: str = "s") -> dict[str, Any]:
    body = {"content": content, "session": session, "wait_seconds": 0}
    response = await stack.call("POST", "/v1/memory/remember", key=key, json=body)
    assert response.status_code == 202
    found: dict[str, Any] = response.json()
    return found


async def ask(stack: Stack, *, key: str, **fields: Any) -> httpx.Response:
    return await stack.call("POST", "/v1/memory/recall", key=key, json={"q": "acme", "session": "s", **fields})


@pytest.mark.parametrize("after", ["token", "latest"])
@pytest.mark.parametrize("session", ["s", "*"])
async def test_what_was_acknowledged_before_is_seen(stack: Stack, after: str, session: str) -> None:
    key = await stack.key()
    made = await accepted(stack, "acme", key=key)
    async with stack.consuming():
        after = made["token"] if after == "token" else after
        body = (await ask(stack, key=key, after=after, session=session, wait_seconds=20, strict=True)).json()
    assert body["fresh"] is True and body["count"] == 1


async def test_what_does_not_come_in_time_is_said(stack: Stack) -> None:
    key = await stack.key()
    made = await accepted(stack, "acme", key=key)
    for after in (made["token"], "latest"):
        body = (await ask(stack, key=key, after=after, wait_seconds=0)).json()
        assert body["fresh"] is False and body["memories"] == []
        refused_with(await ask(stack, key=key, after=after, wait_seconds=0, strict=True), 504, "not_fresh")


async def test_without_after_nothing_is_said_of_freshness(stack: Stack) -> None:
    key = await stack.key()
    await accepted(stack, "acme", key=key)
    assert "fresh" not in (await ask(stack, key=key)).json()


async def test_the_latest_of_a_session_does_not_wait_for_other_partitions(stack: Stack) -> None:
    key = await stack.key()
    made = await accepted(stack, "acme", key=key, session="s")
    place = int(made["id"].partition("-")[0])
    names = (f"other-{number}" for number in range(1000))
    tokens = [(name, await accepted(stack, "acme", key=key, session=name)) for name, _ in zip(names, range(8), strict=False)]
    assert any(int(other["id"].partition("-")[0]) != place for _, other in tokens)
    consumer = stack.consumers[place]
    consumer.process(await stack.log.read(place, 0))
    assert (await ask(stack, key=key, after="latest", wait_seconds=0)).json()["fresh"] is True
    assert (await ask(stack, key=key, after="latest", session="*", wait_seconds=0)).json()["fresh"] is False


async def test_the_latest_of_an_empty_log_is_fresh(stack: Stack) -> None:
    key = await stack.key()
    assert (await ask(stack, key=key, after="latest", wait_seconds=0)).json()["fresh"] is True


async def test_a_token_of_several_events_waits_for_all(stack: Stack) -> None:
    key = await stack.key()
    first = await accepted(stack, "acme", key=key)
    await stack.consume()
    second = await accepted(stack, "acme again", key=key)
    both = f"{first['token']},{second['token']}"
    assert (await ask(stack, key=key, after=both, wait_seconds=0)).json()["fresh"] is False
    await stack.consume()
    assert (await ask(stack, key=key, after=both, wait_seconds=0)).json()["fresh"] is True


async def test_a_token_by_event_id_is_reached_when_the_ledger_holds_the_event(stack: Stack) -> None:
    key = await stack.key()
    made = await accepted(stack, "acme", key=key)
    await stack.consume()
    [memory] = (await ask(stack, key=key)).json()["memories"]
    partition = int(made["id"].partition("-")[0])
    known, unknown = (format_token([Mark(partition, event_id=id)]) for id in (memory["event_id"], "not-yet"))
    assert (await ask(stack, key=key, after=known, wait_seconds=0)).json()["fresh"] is True
    assert (await ask(stack, key=key, after=unknown, wait_seconds=0)).json()["fresh"] is False


async def test_a_token_by_event_id_says_nothing_of_what_the_caller_may_not_read(stack: Stack) -> None:
    owner, stranger = await stack.key(), await stack.key(tenant="other")
    narrow = await stack.key(sessions=["mine"])
    made = await accepted(stack, "acme", key=owner)
    await stack.consume()
    [memory] = (await ask(stack, key=owner)).json()["memories"]
    partition = int(made["id"].partition("-")[0])
    there, missing = (format_token([Mark(partition, event_id=id)]) for id in (memory["event_id"], "not-there"))
    for key, session in ((stranger, "s"), (stranger, "*"), (narrow, "mine"), (narrow, "*")):
        bodies = [
            (await ask(stack, key=key, after=after, session=session, wait_seconds=0)).json() for after in (there, missing)
        ]
        assert bodies[0] == bodies[1] and bodies[0]["fresh"] is False
    assert (await ask(stack, key=owner, after=there, session="another", wait_seconds=0)).json()["fresh"] is True


async def test_a_key_for_some_sessions_waits_for_its_own_event(stack: Stack) -> None:
    owner, narrow = await stack.key(), await stack.key(sessions=["s"])
    made = await accepted(stack, "acme", key=narrow)
    await stack.consume()
    [memory] = (await ask(stack, key=owner)).json()["memories"]
    token = format_token([Mark(int(made["id"].partition("-")[0]), event_id=memory["event_id"])])
    assert (await ask(stack, key=narrow, after=token, wait_seconds=0)).json()["fresh"] is True


def empty_the_log(folder: Path) -> None:
    """As if its file had been made anew: offsets begin at 0 again."""
    with sqlite3.connect(folder / "log.sqlite3") as connection:
        connection.execute("DELETE FROM log_records")
        connection.execute("UPDATE log_partitions SET next_offset = 0 WHERE topic = 'crewmem.events.v1'")
    connection.close()


@pytest.mark.parametrize("after", ["token", "latest"])
@pytest.mark.parametrize("session", ["s", "*"])
async def test_a_view_of_another_log_is_never_fresh(stack: Stack, tmp_path: Path, after: str, session: str) -> None:
    key = await stack.key()
    for content in ("acme", "acme again", "acme once more"):
        await stack.remember(content, key=key, session="s")
    empty_the_log(tmp_path)
    made = await accepted(stack, "acme in the new log", key=key)
    after = made["token"] if after == "token" else after
    body = (await ask(stack, key=key, after=after, session=session)).json()
    assert body["fresh"] is False and "acme in the new log" not in str(body["memories"])
    refused = await ask(stack, key=key, after=after, session=session, strict=True)
    refused_with(refused, 504, "not_fresh")
    assert "crewmem replay" in refused.json()["message"]


async def test_the_health_of_a_service_over_another_log_says_so_and_recalls_go_on(stack: Stack, tmp_path: Path) -> None:
    key = await stack.key()
    await stack.remember("acme", key=key, session="s")
    assert (await stack.call("GET", "/health/ready", key=None)).json()["checks"]["log"] == "ok"
    assert "crewmem_other_log_partitions 0.0" in (await stack.call("GET", "/metrics", key=None)).text
    empty_the_log(tmp_path)
    response = await stack.call("GET", "/health/ready", key=None)
    assert response.status_code == 200
    assert "made anew" in response.json()["checks"]["log"] and "crewmem replay" in response.json()["checks"]["log"]
    assert "crewmem_other_log_partitions 1.0" in (await stack.call("GET", "/metrics", key=None)).text
    assert len(await stack.recall("acme", key=key, session="s")) == 1
