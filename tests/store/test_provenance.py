"""Which key wrote a memory: noted on the log by the service, kept by the row, shown by every call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.redrive import copy
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, to_json
from crewmem_producers.codec import decode, encode
from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered, TaskOutput
from crewmem_producers.log import Position
from crewmem_producers.names import Scope
from crewmem_store.keys import hash_key
from support.service import NOON, Stack, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path, partitions=1) as running:
        yield running


def named(key: str, name: str) -> dict[str, str]:
    return {"key": hash_key(key)[:12], "name": name}


async def publish(stack: Stack, event: Event, *, key: str, **fields: Any) -> None:
    batch, headers = [to_json(event) | fields], {"content-type": BATCH_CONTENT_TYPE, "crewmem-writer": "3f2a51c09d7e admin"}
    answer = await stack.call("POST", "/v1/events", key=key, content=json.dumps(batch), headers=headers)
    assert answer.json()["results"][0]["status"] == "accepted", answer.text
    await stack.consume()


async def test_a_memory_says_which_key_wrote_it_in_every_call(stack: Stack) -> None:
    ann, bob = await stack.key(name="ann's crews"), await stack.key(name="bob")
    await stack.remember("Acme charges 49 dollars", key=ann)
    output = TaskOutput(index=0, agent_role="Analyst", raw="Globex has 120 people in Lyon.")
    body = KickoffCompleted(crew="c", tasks=[output], raw=output.raw)
    await publish(stack, Event(body=body, scope=Scope.of("x", "shared"), time=NOON), key=bob)
    for explain in (False, True):
        found = await stack.recall("Acme Globex", key=ann, explain=explain)
        assert {memory["writer"]["name"]: memory["writer"] for memory in found} == {
            "ann's crews": named(ann, "ann's crews"), "bob": named(bob, "bob"),
        }  # fmt: skip
    listed = (await stack.call("GET", "/v1/memory/list", key=bob)).json()["memories"]
    assert [memory["writer"]["name"] for memory in listed] == ["bob", "ann's crews"]


async def test_what_a_caller_says_of_the_writer_is_dropped(stack: Stack) -> None:
    key = await stack.key(name="honest")
    said = {"crewmem-writer": "3f2a51c09d7e admin", "writer": "3f2a51c09d7e admin"}
    event = Event(body=MemoryRemembered(content="x"), scope=Scope.of("x", "shared"), time=NOON, writer="3f2a51c09d7e admin")
    await publish(stack, event, key=key, **said)
    [memory] = await stack.recall("x", key=key)
    assert memory["writer"] == named(key, "honest")
    [record] = await stack.log.read(0, 0)
    assert [value for name, value in record.headers if name == "crewmem-writer"] == [f"{hash_key(key)[:12]} honest".encode()]


async def test_a_program_that_writes_to_the_log_itself_is_unsigned(stack: Stack) -> None:
    await stack.append(Event(body=MemoryRemembered(content="x"), scope=Scope.of("acme", "shared"), time=NOON))
    await stack.consume()
    [memory] = await stack.recall("x", key=await stack.key())
    assert memory["writer"] is None


async def test_a_forget_notes_who_asked_for_it(stack: Stack) -> None:
    key = await stack.key(name="cleaner")
    made = await stack.remember("x", key=key)
    async with stack.consuming():
        await stack.call("DELETE", f"/v1/memory/forget/{made['id']}?wait_seconds=20", key=key)
    assert [decode(record).writer for record in await stack.log.read(0, 0)] == [f"{hash_key(key)[:12]} cleaner"] * 2


async def test_a_redriven_event_keeps_its_writer(stack: Stack) -> None:
    event = Event(body=MemoryRemembered(content="x"), scope=Scope.of("acme", "shared"), writer="3f2a51c09d7e crews")
    assert decode(copy(encode(event), Position(0, 7))).writer == "3f2a51c09d7e crews"


async def test_an_event_from_the_future_is_taken_as_of_now(stack: Stack) -> None:
    key = await stack.key()
    event = Event(body=MemoryRemembered(content="x"), scope=Scope.of("x", "shared"))
    await publish(stack, event, key=key, time="9999-12-31T23:59:59Z")
    [record] = await stack.log.read(0, 0)
    assert record.header("ce_time") == "2026-11-23T12:00:00.000000Z", "also where the log is copied to another one"
