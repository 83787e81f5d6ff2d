"""Remembering, recalling and listing over HTTP: the table of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers.events import Event, KickoffCompleted, TaskOutput
from crewmem_producers.names import Scope
from support.service import NOON, Stack, running_stack

MEMORY = {
    "id", "content", "session", "metadata", "created_at", "expires_at", "superseded_at", "kind", "text", "summary", "crew",
    "agent_role", "parent", "key", "importance", "event_id", "span", "writer",
}  # fmt: skip


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


async def contents(stack: Stack, q: str, *, key: str, **fields: Any) -> list[str]:
    return [memory["content"] for memory in await stack.recall(q, key=key, **fields)]


async def test_what_is_remembered_is_recalled_first_with_its_score(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("The office has a blue door", key=key, session="project_alpha")
    made = await stack.remember("Rival check: Globex has no API docs", key=key, session="project_alpha")
    assert made == {
        "id": made["id"], "content": "Rival check: Globex has no API docs", "session": "project_alpha",
        "metadata": {}, "created_at": "2026-11-23T12:00:00.000000Z",
    }  # fmt: skip

    response = await stack.call("GET", "/v1/memory/recall?q=rival+api&session=project_alpha", key=key)

    body = response.json()
    assert set(body) == {"memories", "count", "query"}
    assert body["count"] == len(body["memories"]) == 2 and body["query"] == "rival api"
    first, second = body["memories"]
    assert set(first) == MEMORY | {"score"}
    assert first["id"] == made["id"] and first["content"] == made["content"]
    assert 0 <= second["score"] < first["score"] <= 1


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
    assert again == {**first, "duplicate": True}


async def test_every_field_of_a_memory_comes_back(stack: Stack) -> None:
    key = await stack.key()
    given = {"metadata": {"team": "a", "n": [1, None, "ü"]}, "kind": "preference", "importance": 0.9,
             "parent": "talk-1", "speaker": "Ann", "created_at": "2026-11-20T10:00:00+02:00", "ttl": 864_000}  # fmt: skip
    await stack.remember("Short sentences, please", key=key, session="s", memory_key="tone", **given)
    [memory] = await stack.recall("sentences", key=key, session="s")
    assert {name: memory[name] for name in ("metadata", "kind", "importance", "parent")} == {
        name: given[name] for name in ("metadata", "kind", "importance", "parent")
    }
    assert memory["key"] == "tone"
    assert memory["created_at"] == "2026-11-20T08:00:00.000000Z" and memory["expires_at"] == "2026-11-30T08:00:00.000000Z"
    assert memory["text"] == "Ann (2026-11-20): Short sentences, please"


async def test_an_omitted_session_is_the_shared_one(stack: Stack) -> None:
    key = await stack.key()
    assert (await stack.remember("for everyone", key=key))["session"] == "shared"
    await stack.remember("for one", key=key, session="one")
    assert await contents(stack, "for", key=key) == ["for everyone"]
    assert await contents(stack, "for", key=key, session="shared") == ["for everyone"]
    assert set(await contents(stack, "for", key=key, session="*")) == {"for everyone", "for one"}
    assert set(await contents(stack, "for", key=key, session=["one", "shared"])) == {"for everyone", "for one"}


async def test_a_session_is_the_same_however_its_name_is_typed(stack: Stack) -> None:
    key = await stack.key()
    assert (await stack.remember("found", key=key, session="Senior\n  Researcher "))["session"] == "Senior Researcher"
    assert await contents(stack, "found", key=key, session="Senior Researcher") == ["found"]


async def test_a_memory_is_gone_when_its_time_is_over(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("the offer holds", key=key, ttl=3600)
    stack.clock.pass_(minutes=59)
    assert await contents(stack, "offer", key=key) == ["the offer holds"]
    stack.clock.pass_(minutes=1)
    assert await contents(stack, "offer", key=key) == []
    listed = (await stack.call("GET", "/v1/memory/list", key=key)).json()
    assert listed == {"memories": [], "total": 0}


async def test_a_key_replaces_what_it_said_before_and_as_of_still_sees_that(stack: Stack) -> None:
    key = await stack.key()
    for content, hour in (("the price is 10", 0), ("the price is 12", 2)):
        stack.clock.now = NOON + timedelta(hours=hour)
        await stack.remember(content, key=key, memory_key="price")
    assert await contents(stack, "price", key=key) == ["the price is 12"]
    before = (NOON + timedelta(hours=1)).isoformat()
    assert await contents(stack, "price", key=key, as_of=before) == ["the price is 10"]


async def test_filters_keep_what_they_name(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("acme price one", key=key, metadata={"team": "a"}, kind="data")
    stack.clock.pass_(days=2)
    await stack.remember("acme price two", key=key, metadata={"team": "b"})
    since = stack.clock().isoformat().replace("+00:00", "Z")
    for fields, kept in (
        ({"metadata": {"team": "a"}}, ["acme price one"]),
        ({"kind": "note"}, ["acme price two"]),
        ({"since": since}, ["acme price two"]),
        ({"until": NOON.isoformat()}, ["acme price one"]),
        ({"crew": "nobody"}, []),
    ):
        assert await contents(stack, "acme", key=key, **fields) == kept
    asked = {"q": "acme", "metadata": '{"team": "b"}'}
    got = await stack.call("GET", "/v1/memory/recall", key=key, params=asked)
    assert [memory["content"] for memory in got.json()["memories"]] == ["acme price two"]


async def test_a_crew_and_a_role_filter_the_outputs_of_a_kickoff(stack: Stack) -> None:
    key = await stack.key()
    tasks = [
        TaskOutput(index=0, raw="acme found", agent_role="Researcher"),
        TaskOutput(index=1, raw="acme written", agent_role="Writer"),
    ]
    body = KickoffCompleted(crew="research", raw="acme written", tasks=tasks, execution_id="x1")
    await stack.append(Event(body=body, scope=Scope.of("acme", "s"), time=NOON))
    await stack.consume()
    assert set(await contents(stack, "acme", key=key, session="s", crew="research")) == {"acme found", "acme written"}
    assert await contents(stack, "acme", key=key, session="s", agent_role="Writer") == ["acme written"]


async def test_explain_says_why_each_memory_ranked_so(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("acme price", key=key)
    [memory] = await stack.recall("acme price", key=key, explain=True)
    told = memory["explain"]
    assert set(told) == {"rank", "meaning", "words", "neighbours", "parent", "recency", "importance"}
    assert told["rank"] == pytest.approx(sum(value for name, value in told.items() if name != "rank"), abs=1e-5)
    [memory] = await stack.recall("acme price", key=key)
    assert "explain" not in memory


async def test_a_context_is_a_block_ready_for_a_backstory(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("Acme lacks API docs", key=key, speaker="Researcher")
    await stack.remember("word " * 200, key=key)
    stack.clock.pass_(days=3)
    asked = {"q": "acme api docs", "format": "context", "max_tokens": 60}
    body = (await stack.call("POST", "/v1/memory/recall", key=key, json=asked)).json()
    assert body["context"] == "What earlier runs found out:\n- 2026-11-23, 3 days ago, Researcher: Acme lacks API docs"
    assert body["tokens"] == stack.embedder.count_tokens([body["context"]])[0] <= 60
    assert [memory["content"] for memory in body["memories"]] == ["Acme lacks API docs"] and body["count"] == 1


async def test_a_context_of_nothing_is_empty(stack: Stack) -> None:
    key = await stack.key()
    body = (await stack.call("POST", "/v1/memory/recall", key=key, json={"q": "acme", "format": "context"})).json()
    assert (body["context"], body["tokens"], body["count"]) == ("", 0, 0)


async def test_get_and_post_recall_answer_alike(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("acme price", key=key, session="s")
    asked = {"q": "acme", "session": "s", "top_k": 3, "threshold": 0.1, "explain": True}
    post = await stack.call("POST", "/v1/memory/recall", key=key, json=asked)
    got = await stack.call("GET", "/v1/memory/recall", key=key, params=asked)
    assert got.json() == post.json() and got.json()["count"] == 1


async def test_a_recall_writes_nothing(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("acme price", key=key)
    before = await stack.log.end(), dict(stack.registry.items("")), stack.store.reader("g1").outcomes(0)
    await stack.recall("acme", key=key, session="*", after="latest", explain=True)
    assert (await stack.log.end(), dict(stack.registry.items("")), stack.store.reader("g1").outcomes(0)) == before


async def test_a_list_is_the_newest_first_in_pages(stack: Stack) -> None:
    key = await stack.key()
    for number in range(5):
        stack.clock.pass_(minutes=1)
        await stack.remember(f"note {number}", key=key, session="s")
    pages = [(await stack.call("GET", f"/v1/memory/list?session=s&limit=2&offset={n}", key=key)).json() for n in (0, 2, 4, 6)]
    assert [[memory["content"] for memory in page["memories"]] for page in pages] == [
        ["note 4", "note 3"], ["note 2", "note 1"], ["note 0"], [],
    ]  # fmt: skip
    assert {page["total"] for page in pages} == {5}
    assert set(pages[0]["memories"][0]) == MEMORY


async def test_a_memory_that_json_cannot_write_as_it_is_harms_no_answer(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("acme one", key=key)
    reader = stack.store.reader("g1")
    [row] = [
        row for p in range(3) for entry in reader.ledger(p, start=0, limit=9) for row in reader.by_event(entry.ce_id or "")
    ]
    for number, value in enumerate((float("nan"), float("inf"), "\ud800")):
        copy = replace(row, id=f"{row.id}{number}", metadata={"odd": value})
        stack.store.partition("g1", int(row.id.partition("-")[0]), dimensions=384).commit(rows=[copy], updates=[], ledger=[])
    assert len(await stack.recall("acme", key=key)) == 4


@pytest.mark.parametrize("time", ["2026-11-24T12:00:01Z", "2999-12-31T00:00:00Z"])
async def test_what_is_said_to_happen_in_the_future_is_refused_at_the_door(stack: Stack, time: str) -> None:
    answer = await stack.call(
        "POST", "/v1/memory/remember", key=await stack.key(), json={"content": "soon", "created_at": time}
    )  # fmt: skip
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_request"
    assert "created_at" in answer.json()["message"] and "2026-11-23T12:00:00" in answer.json()["message"]
    assert sum((await stack.log.end()).values()) == 0


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "2026-11-24T12:00:00Z"])
async def test_the_past_and_a_clock_that_is_a_day_fast_are_taken(stack: Stack, time: str) -> None:
    made = await stack.remember("once", key=await stack.key(), created_at=time)
    assert made["created_at"] == time.replace("Z", ".000000Z")
