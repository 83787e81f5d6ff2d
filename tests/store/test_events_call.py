"""`POST /v1/events`: what a relay sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, to_json
from crewmem_producers.codec import decode
from crewmem_producers.errors import LogRefused, LogUnavailable, RegistryUnavailable
from crewmem_producers.events import Event, KickoffCompleted, MemoryForgotten, MemoryRemembered, SpanRef, TaskOutput
from crewmem_producers.limits import BATCH_EVENTS
from crewmem_producers.log import Position, Record
from crewmem_producers.names import Scope
from crewmem_store.keys import hash_key
from crewmem_store.service import producers
from crewmem_store.service.producers import HOSTS_OF_A_KEY
from support.service import NOON, Stack, refused_with, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


def event(content: str, *, session: str = "s", source: str = "host-1", **fields: Any) -> dict[str, Any]:
    body = MemoryRemembered(content=content)
    return to_json(Event(body=body, scope=Scope.of("x", session), time=NOON, source=source)) | fields


async def post(stack: Stack, batch: Any, *, key: str, header: str | None = None) -> httpx.Response:
    headers = {"content-type": BATCH_CONTENT_TYPE} | ({"crewmem-relay": header} if header else {})
    return await stack.call("POST", "/v1/events", key=key, content=json.dumps(batch).encode(), headers=headers)


async def test_each_event_is_answered_in_order_with_its_token(stack: Stack) -> None:
    key = await stack.key()
    batch = [event("acme one"), event("acme two", session="t"), event("acme three")]
    response = await post(stack, batch, key=key)
    results = response.json()["results"]
    assert response.status_code == 200
    assert [(result["id"], result["status"]) for result in results] == [(one["id"], "accepted") for one in batch]
    await stack.consume()
    for result, session in zip(results, ("s", "t", "s"), strict=True):
        answer = await stack.call(
            "GET", "/v1/memory/recall", key=key,
            params={"q": "acme", "session": session, "after": result["token"], "strict": True},
        )  # fmt: skip
        assert result["id"] in {memory["event_id"] for memory in answer.json()["memories"]}


@pytest.mark.parametrize("name", ["source", "traceparent"])
async def test_half_a_character_in_a_name_of_the_event_is_replaced_and_fails_no_batch(stack: Stack, name: str) -> None:
    response = await post(stack, [event("a", **{name: "half \ud800"}), event("b")], key=await stack.key())
    assert [result["status"] for result in response.json()["results"]] == ["accepted"] * 2
    records = [record for n in range(stack.log.partitions) for record in await stack.log.read(n, 0)]
    assert decode(records[0]).source == ("half \ufffd" if name == "source" else "host-1")


async def test_the_tenant_is_the_keys_whatever_the_event_says(stack: Stack) -> None:
    key, other = await stack.key(tenant="acme"), await stack.key(tenant="other")
    one = event("acme one")
    one["data"]["tenant"] = "other"
    await post(stack, [one], key=key)
    await stack.consume()
    assert len(await stack.recall("acme", key=key, session="s")) == 1
    assert await stack.recall("acme", key=other, session="s") == []


async def test_one_bad_event_delays_no_good_one(stack: Stack) -> None:
    key = await stack.key(sessions=["s*"])
    forgotten = to_json(Event(body=MemoryForgotten(spans=[SpanRef(event_id="e", span="content")]), scope=Scope.of("x", "s")))
    newer = event("acme")
    newer["data"]["schema_version"] = 99
    deep: Any = "x"
    for _ in range(400):
        deep = {"a": deep}
    nested = event("acme")
    nested["data"]["metadata"] = deep
    unnamed, empty = event("acme"), event("acme")
    unnamed["data"]["session"] = ""
    empty["data"]["content"] = ""
    batch = [
        event("acme good"), forgotten, newer, event("acme", session="other"), unnamed, empty, nested,
        event("acme", specversion="0.3"), event("acme", id=7), event("acme", id="ö"), event("acme", time="soon"),
        event("acme", type="crewmem.rules.applied"), None, [], event("acme good too"),
    ]  # fmt: skip
    results = (await post(stack, batch, key=key)).json()["results"]
    assert [result["status"] for result in results] == ["accepted", *["refused"] * 13, "accepted"]
    codes = [result["error"].partition(":")[0] for result in results[1:-1]]
    assert codes == [
        "unknown_type", "newer_schema", "forbidden_session", "wrong_schema", "wrong_schema", "too_deep",
        "bad_header", "bad_header", "bad_header", "bad_header", "unknown_type", "bad_header", "bad_header",
    ]  # fmt: skip
    await stack.consume()
    assert len(await stack.recall("acme", key=key, session="s")) == 2


@pytest.mark.parametrize("field", ["id", "type", "time"])
async def test_half_a_character_in_an_attribute_refuses_that_event_alone(stack: Stack, field: str) -> None:
    key = await stack.key()
    response = await post(stack, [event("acme one"), event("acme", **{field: "a\ud800"}), event("acme two")], key=key)
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["status"] for result in results] == ["accepted", "refused", "accepted"]
    code, _, why = results[1]["error"].partition(": ")
    assert code == ("unknown_type" if field == "type" else "bad_header") and field in why
    await stack.consume()
    assert len(await stack.recall("acme", key=key, session="s")) == 2


async def test_order_within_a_session_is_kept(stack: Stack) -> None:
    key = await stack.key()
    batch = [event(f"note {number}", session=f"s{number % 3}") for number in range(60)]
    await post(stack, batch, key=key)
    for session in ("s0", "s1", "s2"):
        found = []
        for partition, end in (await stack.log.end()).items():
            records = await stack.log.read(partition, 0, limit=end + 1)
            found += [decoded.body for decoded in map(decode, records) if decoded.scope and decoded.scope.session == session]
        numbers = [int(body.content.split()[1]) for body in found if isinstance(body, MemoryRemembered)]
        assert numbers == sorted(numbers) and len(numbers) == 20


async def test_an_empty_batch_is_answered_and_too_many_events_are_413(stack: Stack) -> None:
    key = await stack.key()
    assert (await post(stack, [], key=key)).json() == {"results": []}
    refused_with(await post(stack, [None] * (BATCH_EVENTS + 1), key=key), 413, "too_large")
    refused_with(await post(stack, {"id": "x"}, key=key), 400, "invalid_request")


async def test_a_kickoff_of_many_megabytes_is_taken(stack: Stack) -> None:
    key = await stack.key()
    body = KickoffCompleted(crew="c", raw="", tasks=[TaskOutput(index=0, raw="acme found it. " * 500_000)])
    big = to_json(Event(body=body, scope=Scope.of("x", "s"), time=NOON))
    assert (await post(stack, [big], key=key)).json()["results"][0]["status"] == "accepted"


@pytest.mark.parametrize("error", [LogUnavailable("no broker answers"), LogRefused("this user may not write")])
async def test_a_log_that_does_not_acknowledge_is_503(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:  # fmt: skip
    async def away(records: Sequence[Record]) -> list[Position]:
        raise error

    monkeypatch.setattr(stack.log, "append", away)
    key = await stack.key()
    answers = [
        await post(stack, [event("acme")], key=key),
        await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "a"}),
    ]
    for answer in answers:
        refused_with(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]


async def test_what_a_relay_reports_is_kept_by_source_every_half_minute(stack: Stack) -> None:
    key = await stack.key()
    await post(stack, [event("a")], key=key, header="depth=3,oldest_seconds=1.5,version=0.1.0")
    assert stack.registry.get(f"producer/acme/{hash_key(key)[:12]}/host-1") == {
        "source": "host-1", "key": hash_key(key)[:12], "transport": "http", "tenant": "acme",
        "depth": 3, "oldest_seconds": 1.5, "version": "0.1.0",
        "seen_at": "2026-11-23T12:00:00.000000Z",
    }  # fmt: skip
    stack.clock.pass_(seconds=29)
    await post(stack, [event("b")], key=key, header="depth=9,oldest_seconds=1.5,version=0.1.0")
    stack.clock.pass_(seconds=1)
    await post(stack, [event("c", source="host-2")], key=key, header="depth=5,oldest_seconds=0,version=0.1.0")
    assert [value["depth"] for value in stack.registry.items("producer/").values()] == [3, 5]
    metrics = (await stack.call("GET", "/metrics", key=None)).text
    assert "\ncrewmem_outbox_events 8.0\n" in metrics and "host-1" not in metrics and "acme" not in metrics
    stack.clock.now += timedelta(hours=1)
    assert "\ncrewmem_outbox_events 0.0\n" in (await stack.call("GET", "/metrics", key=None)).text


REPORT = "depth=3,oldest_seconds=1.5,version=0.1.0"


async def test_a_key_reports_for_itself_and_not_for_the_hosts_of_another(stack: Stack) -> None:
    ours, theirs = await stack.key(), await stack.key(tenant="other")
    await post(stack, [event("a")], key=ours, header=REPORT)
    await post(stack, [event("a")], key=theirs, header=REPORT.replace("depth=3", "depth=999999"))
    found = stack.registry.items("producer/")
    assert {(value["tenant"], value["source"], value["depth"]) for value in found.values()} == {
        ("acme", "host-1", 3), ("other", "host-1", 999999),
    }  # fmt: skip


async def test_hosts_that_a_key_invents_are_bounded(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    abuser, other = await stack.key(name="abuser"), await stack.key(name="other")
    await post(stack, [event("a", source="honest")], key=other, header=REPORT)
    for start in range(0, 2 * HOSTS_OF_A_KEY, 5):
        await post(stack, [event("a", source=f"invented-{n}") for n in range(start, start + 5)], key=abuser, header=REPORT)
        await stack.consume()  # so that the tenant's share of undecided events is free
    of_abuser = stack.registry.items(f"producer/acme/{hash_key(abuser)[:12]}/")
    assert len(of_abuser) == HOSTS_OF_A_KEY and len(stack.registry.items("producer/")) == HOSTS_OF_A_KEY + 1
    assert caplog.text.count("more than 100 hosts") == 1

    stack.clock.pass_(minutes=11)
    await post(stack, [event("a", source="a-new-host")], key=abuser, header=REPORT)
    of_abuser = stack.registry.items(f"producer/acme/{hash_key(abuser)[:12]}/")
    assert len(of_abuser) == HOSTS_OF_A_KEY and "a-new-host" in {value["source"] for value in of_abuser.values()}


async def test_hosts_of_all_keys_are_bounded(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers, "HOSTS_IN_ALL", 4)
    for number in range(6):
        await post(stack, [event("a", source=f"host-{number}")], key=await stack.key(name=f"k{number}"), header=REPORT)
    assert len(stack.registry.items("producer/")) == 4


async def test_a_batch_reports_for_few_hosts_and_their_names_are_clean(stack: Stack) -> None:
    sources = ["evil\nERROR forged", "\x1b[2J\u202e", "x" * 200, *(f"h{n}" for n in range(50))]
    await post(stack, [event("a", source=source) for source in sources], key=await stack.key(), header=REPORT)
    found = [value["source"] for value in stack.registry.items("producer/").values()]
    assert len(found) == 5 and all(source.isprintable() and len(source) <= 60 for source in found)


@pytest.mark.parametrize("error", [RegistryUnavailable("no broker answers"), LogRefused("this user may not write")])
async def test_a_report_that_cannot_be_kept_fails_no_batch_and_is_said_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    key, report = await stack.key(), "depth=3,oldest_seconds=1.5,version=0.1.0"

    async def refused(name: str, value: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(stack.registry, "put", refused)
        for content in ("a", "b"):
            response = await post(stack, [event(content)], key=key, header=report)
            assert response.json()["results"][0]["status"] == "accepted"
    assert caplog.text.count(str(error)) == 1
    await post(stack, [event("c")], key=key, header=report)
    assert stack.registry.get(f"producer/acme/{hash_key(key)[:12]}/host-1") is not None


@pytest.mark.parametrize("header", ["", "depth=x", "depth=1,oldest_seconds=nan,version=1", "a" * 5000])
async def test_a_header_that_is_no_report_hinders_nothing(stack: Stack, header: str) -> None:
    response = await post(stack, [event("a")], key=await stack.key(), header=header)
    assert response.json()["results"][0]["status"] == "accepted"
    assert stack.registry.items("producer/") == {}


async def test_a_rate_limit_counts_events_and_not_batches(tmp_path: Path) -> None:
    async with running_stack(tmp_path, rate_limit_per_minute=5) as stack:
        key, other = await stack.key(), await stack.key()
        accepted = 0
        for _ in range(5):
            response = await post(stack, [event(f"note {number}") for number in range(3)], key=key)
            if response.status_code == 200:
                accepted += len(response.json()["results"])
            else:
                refused_with(response, 429, "rate_limited")
                assert int(response.headers["Retry-After"]) == 12
        assert accepted == 3
        assert (await post(stack, [event("acme")], key=other)).status_code == 200


async def test_a_batch_over_the_rate_limit_goes_from_a_full_bucket_and_is_owed(tmp_path: Path) -> None:
    async with running_stack(tmp_path, rate_limit_per_minute=5) as stack:
        key, batch = await stack.key(), [event(f"note {number}") for number in range(20)]
        assert (await post(stack, batch, key=key)).status_code == 200
        assert (await post(stack, batch, key=key)).headers["Retry-After"] == str(20 * 12)
        assert (await stack.call("GET", "/v1/memory/list", key=key)).status_code == 200
        stack.clock.pass_(seconds=20 * 12)
        assert (await post(stack, batch, key=key)).status_code == 200
