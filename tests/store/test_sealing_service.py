"""The recall service seals what it puts on the log, holding the public half alone, and never writes plain instead."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers import data_keys, master_key
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, to_json
from crewmem_producers.codec import decode
from crewmem_producers.errors import KeyErased, SettingsError
from crewmem_producers.events import Event, MemoryForgotten, MemoryRemembered
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.sealed_body import key_id
from support.events import remembered
from support.registries import DictRegistry
from support.service import Stack, refused_with, running_stack

MASTER = MasterKeys.parse(master_key.generate())


@pytest.fixture
async def registry() -> DictRegistry:
    return DictRegistry()


@pytest.fixture
async def stack(tmp_path: Path, registry: DictRegistry) -> AsyncIterator[Stack]:
    async with running_stack(
        tmp_path,
        partitions=1,
        registry=registry,
        keyring=Keyring(registry=registry, master=lambda: MASTER),
        master_public_key=MASTER.current.text,
    ) as running:
        yield running


async def logged(stack: Stack) -> list[LoggedRecord]:
    return await stack.log.read(0, 0)


async def post(stack: Stack, *events: Event, key: str) -> Any:
    return await stack.call(
        "POST", "/v1/events", key=key, headers={"content-type": BATCH_CONTENT_TYPE},
        content=json.dumps([to_json(event) for event in events]).encode(),
    )  # fmt: skip


async def test_what_every_call_writes_is_sealed_and_recalled(stack: Stack, registry: DictRegistry) -> None:
    key = await stack.key()
    memory = await stack.remember("Acme costs 49", key=key, session="s")
    answer = await post(stack, remembered("Bolt costs 50"), key=key)
    assert [one["status"] for one in answer.json()["results"]] == ["accepted"]
    async with stack.consuming():
        answer = await stack.call("DELETE", f"/v1/memory/forget/{memory['id']}", key=key, params={"wait_seconds": 20})
        assert answer.status_code == 200
    records = await logged(stack)
    opened = [decode(Keyring(registry=registry, master=lambda: MASTER).open(record)).body for record in records]
    assert [type(body) for body in opened] == [MemoryRemembered, MemoryRemembered, MemoryForgotten]
    assert len({key_id(record) for record in records}) == 1 and key_id(records[0]) is not None
    assert [found["content"] for found in await stack.recall("costs", key=key, session="s")] == ["Bolt costs 50"]


async def test_with_the_registry_away_calls_are_503_and_nothing_is_on_the_log(stack: Stack, registry: DictRegistry) -> None:
    key = await stack.key()
    registry.away = True
    refused_with(await post(stack, remembered("secret"), key=key), 503, "unavailable")
    body = {"content": "secret", "session": "s", "wait_seconds": 0}
    refused_with(await stack.call("POST", "/v1/memory/remember", key=key, json=body), 503, "unavailable")
    assert await logged(stack) == []
    registry.away = False
    assert (await post(stack, remembered("secret"), key=key)).status_code == 200


async def test_after_an_erasure_elsewhere_the_next_event_has_a_new_key(stack: Stack, registry: DictRegistry) -> None:
    key = await stack.key()
    await post(stack, remembered("one"), key=key)
    for name, value in registry.items(data_keys.PREFIX).items():
        registry.truth[name] = {"erased": "2026-01-02T12:00:00Z", "scope_key": value["scope_key"]}
    await post(stack, remembered("two"), key=key)
    one, two = await logged(stack)
    keyring = Keyring(registry=registry, master=lambda: MASTER)
    with pytest.raises(KeyErased):
        keyring.open(one)
    assert decode(keyring.open(two)).body.model_dump()["content"] == "two"


async def test_a_key_pair_that_does_not_fit_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CREWMEM_MASTER_PUBLIC_KEY"):
        async with running_stack(tmp_path, master_key=master_key.generate(), master_public_key=MASTER.current.text):
            pass
