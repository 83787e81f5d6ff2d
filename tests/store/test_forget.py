"""Forgetting over HTTP, with the real pipeline's small stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_producers.codec import decode
from crewmem_producers.events import Event, KickoffCompleted, MemoryForgotten, MemoryRemembered, TaskOutput
from crewmem_producers.names import Scope
from crewmem_store.service import forget as service
from crewmem_store.service import freshness
from support.service import NOON, Stack, refused_with, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


async def forget(stack: Stack, id: str, *, key: str) -> httpx.Response:
    async with stack.consuming():
        return await stack.call("DELETE", f"/v1/memory/forget/{id}?wait_seconds=20", key=key)


async def last_event(stack: Stack, partition: int) -> Event:
    end = (await stack.log.end())[partition]
    [record] = await stack.log.read(partition, end - 1)
    return decode(record)


def kickoff(*outputs: str, session: str = "s", id: str = "kickoff-1") -> Event:
    tasks = [TaskOutput(index=n, raw=raw, agent_role="Writer") for n, raw in enumerate(outputs)]
    body = KickoffCompleted(crew="c", raw=outputs[-1], tasks=tasks, execution_id=id)
    return Event(body=body, scope=Scope.of("acme", session), id=id, time=NOON)


async def contents(stack: Stack, key: str, **fields: Any) -> set[str]:
    return {memory["content"] for memory in await stack.recall("acme", key=key, **fields)}


async def test_a_forgotten_memory_is_gone_and_a_second_time_unknown(stack: Stack) -> None:
    key = await stack.key()
    made = await stack.remember("acme one", key=key)
    await stack.remember("acme two", key=key)
    response = await forget(stack, made["id"], key=key)
    assert (response.status_code, response.json()) == (200, {"deleted": True, "id": made["id"]})
    assert await contents(stack, key) == {"acme two"}
    refused_with(await forget(stack, made["id"], key=key), 404, "not_found")


async def test_the_log_names_the_span_and_those_of_every_repeat(stack: Stack) -> None:
    key = await stack.key()
    made = await stack.remember("acme one", key=key)
    again = await stack.remember("acme one", key=key)
    assert again["duplicate"]
    await forget(stack, made["id"], key=key)
    event = await last_event(stack, int(made["id"].partition("-")[0]))
    assert isinstance(event.body, MemoryForgotten)
    reader = stack.store.reader("g1")
    expected = {
        (made_row.event_id, "content") for made_row in [reader.get(made["id"]), *reader.duplicates(made["id"])] if made_row
    }
    assert {(ref.event_id, ref.span) for ref in event.body.spans} == expected and len(expected) == 2


async def test_a_repeat_that_comes_between_the_look_and_the_forget_is_named_too(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted as a repeat of what is forgotten; a replay with other rules might not count it so, and show it again."""
    key = await stack.key()
    await stack.append(kickoff("acme same"))
    await stack.consume()
    append, named = service._append, []

    async def late(parts: Any, scope: Any, spans: Any, **more: Any) -> Any:
        named.append({ref.event_id for ref in spans})
        if len(named) == 1:
            await stack.append(kickoff("acme same", id="kickoff-2"), kickoff("acme other", id="kickoff-3"))
        return await append(parts, scope, spans, **more)

    monkeypatch.setattr(service, "_append", late)
    assert (await forget(stack, "kickoff-1", key=key)).status_code == 200
    assert named == [{"kickoff-1"}, {"kickoff-2"}]
    assert await contents(stack, key, session="s") == {"acme other"}


async def test_all_that_is_waited_for_is_waited_for_within_one_time(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await stack.key()
    await stack.append(kickoff("acme same"))
    append, wait, given = service._append, freshness.wait, list[float]()

    async def late(*arguments: Any, **more: Any) -> Any:
        if len(given) == 1:
            await stack.append(kickoff("acme same", id="kickoff-2"))
        return await append(*arguments, **more)

    async def waited(reader: Any, marks: Any, *, seconds: float) -> bool:
        given.append(seconds)
        await asyncio.sleep(0.001)
        await stack.consume()
        return await wait(reader, marks, seconds=seconds)

    monkeypatch.setattr(service, "_append", late)
    monkeypatch.setattr(freshness, "wait", waited)
    response = await stack.call("DELETE", "/v1/memory/forget/kickoff-1?wait_seconds=20", key=key)
    assert response.status_code == 200
    until_it_is_known, until_it_is_gone, until_its_repeat_is = given
    assert 20 >= until_it_is_known > until_it_is_gone > until_its_repeat_is


async def test_an_event_id_forgets_all_its_memories(stack: Stack) -> None:
    key = await stack.key()
    await stack.append(kickoff("acme found", "acme written"), kickoff("acme other", id="kickoff-2"))
    await stack.consume()
    assert (await forget(stack, "kickoff-1", key=key)).status_code == 200
    assert await contents(stack, key, session="s") == {"acme other"}


async def test_forgetting_a_repeat_forgets_what_it_repeats(stack: Stack) -> None:
    key = await stack.key()
    await stack.append(kickoff("acme same"), kickoff("acme same", id="kickoff-2"))
    await stack.consume()
    assert (await forget(stack, "kickoff-2", key=key)).status_code == 200
    assert await contents(stack, key, session="s") == set()


async def test_a_memory_that_is_not_in_the_view_yet_is_found_once_it_is(stack: Stack) -> None:
    key = await stack.key()
    late = (await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "acme", "wait_seconds": 0})).json()
    assert (await forget(stack, late["id"], key=key)).status_code == 200
    assert await contents(stack, key) == set()


async def test_what_is_not_applied_in_time_is_202_with_a_token(stack: Stack) -> None:
    key = await stack.key()
    made = await stack.remember("acme one", key=key)
    response = await stack.call("DELETE", f"/v1/memory/forget/{made['id']}?wait_seconds=0", key=key)
    body = response.json()
    assert response.status_code == 202 and body["deleted"] is False and set(body) == {"deleted", "id", "token"}
    await stack.consume()
    assert await contents(stack, key, after=body["token"], strict=True) == set()


@pytest.mark.parametrize(
    "id", ["0-" + "0" * 32, "99-x", "9" * 5000 + "-x", "event", "a/b", "%20", "%00", "é", "x" * 5000, "..%2F..", "0-", "-1-a"]
)
async def test_an_unknown_id_is_404_and_writes_nothing(stack: Stack, id: str) -> None:
    key = await stack.key()
    end = await stack.log.end()
    refused_with(await stack.call("DELETE", f"/v1/memory/forget/{id}", key=key), 404, "not_found")
    assert await stack.log.end() == end


async def test_another_tenants_memory_and_a_forbidden_sessions_are_unknown(stack: Stack) -> None:
    key = await stack.key(tenant="acme")
    made = await stack.remember("acme one", key=key, session="run-1")
    for other in (await stack.key(tenant="other"), await stack.key(tenant="acme", sessions=["run-10"])):
        refused_with(await forget(stack, made["id"], key=other), 404, "not_found")
    assert await contents(stack, key, session="run-1") == {"acme one"}


async def test_one_event_id_in_two_tenants_is_forgotten_in_one(stack: Stack) -> None:
    key, other = await stack.key(tenant="acme"), await stack.key(tenant="other")
    theirs = kickoff("acme theirs")
    await stack.append(kickoff("acme ours"), Event(body=theirs.body, scope=Scope.of("other", "s"), id=theirs.id, time=NOON))
    await stack.consume()
    assert (await forget(stack, "kickoff-1", key=key)).status_code == 200
    assert await contents(stack, key, session="s") == set()
    assert await contents(stack, other, session="s") == {"acme theirs"}


async def test_the_callers_trace_goes_on_in_the_events_of_both_calls_unless_it_is_none(stack: Stack) -> None:
    key = await stack.key()
    for given, kept in ((f"00-{7:032x}-{9:016x}-01", True), ("not a trace", False)):
        headers = {"traceparent": given}
        async with stack.consuming():
            body = {"content": f"Acme charges {int(kept)} dollars.", "session": "s", "wait_seconds": 20}
            made = (await stack.call("POST", "/v1/memory/remember", key=key, json=body, headers=headers)).json()
        partition = int(made["id"].partition("-")[0])
        remembered = await last_event(stack, partition)
        async with stack.consuming():
            await stack.call("DELETE", f"/v1/memory/forget/{made['id']}?wait_seconds=20", key=key, headers=headers)
        forgotten = await last_event(stack, partition)
        assert (type(remembered.body), type(forgotten.body)) == (MemoryRemembered, MemoryForgotten)
        assert {remembered.traceparent, forgotten.traceparent} == {given if kept else None}


async def test_what_may_be_on_its_way_is_not_said_to_be_unknown(stack: Stack) -> None:
    key, waiting = await stack.key(), kickoff("acme one", id="waiting")
    await stack.append(waiting)
    refused_with(await stack.call("DELETE", "/v1/memory/forget/waiting?wait_seconds=0", key=key), 504, "not_fresh")
    assert (await forget(stack, "waiting", key=key)).status_code == 200
    refused_with(await forget(stack, "waiting", key=key), 404, "not_found")
