"""Health, metrics, accounting, and the documentation page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_producers.errors import LogUnavailable, StoreUnavailable
from crewmem_store import generations
from crewmem_store.generations import Generation, save
from crewmem_store.memory_reader import MemoryReader
from crewmem_store.service.app import create_app
from crewmem_store.stalls import STALLED_SECONDS
from support.service import Stack, refused_with, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


async def away(*_: Any, **__: Any) -> Any:
    raise LogUnavailable("no broker answers")


async def test_accounting_adds_up_for_every_partition(stack: Stack) -> None:
    key = await stack.key()
    for number in range(6):
        await stack.remember("acme" if number < 3 else f"acme {number}", key=key, session=f"s{number % 2}")
    await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "late", "wait_seconds": 0})
    stack.clock.pass_(seconds=30)
    account = (await stack.call("GET", "/v1/accounting", key=key)).json()
    assert account["generation"] == "g1" and [one["partition"] for one in account["partitions"]] == [0, 1, 2]
    for one in account["partitions"]:
        assert one["processed"] == sum(one["outcomes"].values()) == one["log_end"] - one["log_start"] - one["lag"]
    assert sum(one["processed"] for one in account["partitions"]) == 6
    [late] = [one for one in account["partitions"] if one["lag"]]
    assert late["lag"] == 1 and late["oldest_unprocessed_seconds"] == pytest.approx(30, abs=1)
    assert account["closes"] and all(one["closes"] and one["position"] == one["processed"] for one in account["partitions"])


async def test_accounting_has_every_generation_that_lives(stack: Stack) -> None:
    await stack.remember("acme", key=await stack.key())
    first = generations.active(stack.registry)
    await generations.save(stack.registry, replace(first, name="g2"))
    account = (await stack.call("GET", "/v1/accounting", key=await stack.key())).json()
    active, building = account["generations"]
    assert [(one["generation"], one["active"], one["closes"]) for one in (active, building)] == [
        ("g1", True, True), ("g2", False, True),
    ]  # fmt: skip
    assert sum(one["lag"] for one in active["partitions"]) == 0 and sum(one["lag"] for one in building["partitions"]) == 1


async def test_a_tenants_admin_sees_the_account_of_its_tenant_alone(stack: Stack) -> None:
    admin = await stack.key(rights=["read", "write", "admin"])
    other = await stack.key(tenant="other")
    await stack.remember("acme", key=admin, session="s")
    before = (await stack.call("GET", "/v1/accounting", key=admin)).json()
    assert before == {
        "generation": "g1", "closes": True, "tenant": "acme", "processed": 1, "outcomes": {"stored": 1},
        "generations": [
            {"generation": "g1", "active": True, "closes": True, "tenant": "acme", "processed": 1, "outcomes": {"stored": 1}}
        ],
    }  # fmt: skip
    for number in range(3):
        await stack.remember(f"other {number}", key=other, session="s")
    assert (await stack.call("GET", "/v1/accounting", key=admin)).json() == before, "others' events change nothing"
    whole = (await stack.call("GET", "/v1/accounting", key=other)).json()
    assert sum(one["processed"] for one in whole["partitions"]) == 4, "an operator sees the deployment"


async def test_an_operator_needs_no_other_right(stack: Stack) -> None:
    await stack.remember("acme", key=await stack.key())
    operator = await stack.key(rights=["operator"])
    assert (await stack.call("GET", "/v1/accounting", key=operator)).json()["partitions"]
    refused_with(await stack.call("GET", "/v1/memory/list", key=operator), 403, "forbidden_right")


async def test_metrics_have_the_agreed_names_and_name_no_session(stack: Stack) -> None:
    key = await stack.key(tenant="secret-tenant")
    await stack.remember("acme", key=key, session="secret-session")
    await stack.recall("acme", key=key, session="secret-session")
    await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "late", "wait_seconds": 0})
    text = (await stack.call("GET", "/metrics", key=None)).text
    assert 'crewmem_records_total{outcome="stored"} 1.0' in text
    assert "crewmem_recall_seconds_count 1.0" in text
    assert re.search(r'crewmem_lag_records\{partition="\d"\} 1\.0', text)
    assert "crewmem_oldest_unprocessed_seconds{" in text and "# TYPE crewmem_outbox_events gauge" in text
    assert "secret" not in text


async def test_ready_says_what_is_away(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await stack.call("GET", "/health/ready", key=None)).json() == {
        "status": "ready",
        "checks": {"log": "ok", "store": "ok"},
        "stalled": [],
        "damaged": [],
        "topics": [],
    }
    monkeypatch.setattr(stack.log, "end", away)
    response = await stack.call("GET", "/health/ready", key=None)
    body = response.json()
    assert response.status_code == 503 and body["error"] == "unavailable" and "no broker answers" in body["message"]
    assert body["checks"]["store"] == "ok"
    assert (await stack.call("GET", "/health/live", key=None)).status_code == 200
    assert (await stack.call("GET", "/metrics", key=None)).status_code == 200


async def test_a_store_that_is_away_is_503_for_recalls_and_stops_no_remember(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the bucket does not answer")

    monkeypatch.setattr("crewmem_store.memory.MemoryReader.last_offset", gone)
    monkeypatch.setattr("crewmem_store.memory.MemoryReader.rows", gone)
    key = await stack.key()
    for path in ("/v1/memory/recall?q=a", "/v1/memory/list"):
        refused_with(await stack.call("GET", path, key=key), 503, "unavailable")
    response = await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "a"})
    assert response.status_code == 202 and response.json()["token"]


async def test_before_there_is_a_generation_recalls_are_503_and_remembers_are_kept(stack: Stack) -> None:
    await stack.registry.put("active", {})
    key = await stack.key()
    refused_with(await stack.call("GET", "/v1/memory/recall?q=a", key=key), 503, "unavailable")
    assert (await stack.call("GET", "/health/ready", key=None)).status_code == 503
    assert (await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "a"})).status_code == 202


async def test_a_generation_of_another_embedder_is_refused_with_the_remedy(stack: Stack) -> None:
    other = Generation(name="g1", embedder="other", embedder_fingerprint="x", dimensions=8, partitions=3)
    await save(stack.registry, other)
    response = await stack.call("GET", "/v1/memory/recall?q=a", key=await stack.key())
    refused_with(response, 503, "unavailable")
    assert "CREWMEM_EMBEDDER" in response.json()["message"]


async def test_a_failure_nobody_foresaw_is_500_in_the_shape(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("crewmem_store.memory.MemoryReader.rows", broken)
    response = await stack.call("GET", "/v1/memory/recall?q=a", key=await stack.key())
    refused_with(response, 500, "internal")
    assert "secret" not in response.text


async def test_the_documentation_comes_without_a_cdn(stack: Stack) -> None:
    page = (await stack.call("GET", "/docs", key=None)).text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert linked and all(link.startswith("/") for link in linked)
    for link in linked:
        response = await stack.call("GET", link, key=None)
        assert response.status_code == 200 and len(response.content) > 100


async def test_the_openapi_document_has_every_call_and_no_422(stack: Stack) -> None:
    document = (await stack.call("GET", "/openapi.json", key=None)).json()
    assert set(document["paths"]) == {
        "/v1/memory/remember", "/v1/memory/recall", "/v1/memory/forget/{id}", "/v1/memory/list", "/v1/events",
        "/v1/accounting", "/health/live", "/health/ready", "/metrics",
    }  # fmt: skip
    for calls in document["paths"].values():
        for call in calls.values():
            assert "422" not in call["responses"]
    recall = document["paths"]["/v1/memory/recall"]["get"]
    assert {parameter["name"] for parameter in recall["parameters"]} >= {"q", "session", "top_k", "threshold", "after", "as_of"}
    assert recall["security"]


async def test_the_openapi_document_says_what_every_field_is_and_which_errors_a_call_has(stack: Stack) -> None:
    document = (await stack.call("GET", "/openapi.json", key=None)).json()
    schemas = document["components"]["schemas"]
    fields = [(name, field) for name, schema in schemas.items() for field in schema["properties"].items()]
    assert len(fields) > 50 and [(name, field) for name, (field, said) in fields if not said.get("description")] == []
    calls = {(method, path): call for path, some in document["paths"].items() for method, call in some.items()}
    given = [(place, one) for place, call in calls.items() for one in call.get("parameters", ())]
    assert len(given) > 15 and [(place, one["name"]) for place, one in given if not one.get("description")] == []
    every = {"401", "403", "405", "413", "429", "500", "503"}
    own = {
        ("post", "/v1/memory/remember"): {"201", "202", "400"}, ("get", "/v1/memory/recall"): {"200", "400", "504"},
        ("post", "/v1/memory/recall"): {"200", "400", "504"}, ("get", "/v1/memory/list"): {"200", "400"},
        ("delete", "/v1/memory/forget/{id}"): {"200", "202", "400", "404", "504"}, ("post", "/v1/events"): {"200", "400"},
        ("get", "/v1/accounting"): {"200"},
    }  # fmt: skip
    assert {place: set(call["responses"]) for place, call in calls.items() if "/v1/" in place[1]} == {
        place: every | some for place, some in own.items()
    }


async def test_two_services_on_one_store_answer_alike(stack: Stack) -> None:
    key = await stack.key()
    await stack.remember("acme", key=key)
    app = create_app(
        settings=stack.settings, log=stack.log, registry=stack.registry, store=stack.store, embedder=stack.embedder,
        clock=stack.clock,
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://two") as client:
        response = await client.get("/v1/memory/recall?q=acme", headers={"Authorization": f"Bearer {key}"})
    assert response.json() == (await stack.call("GET", "/v1/memory/recall?q=acme", key=key)).json()


@pytest.mark.parametrize("path", ["/health/ready", "/metrics"])
async def test_probes_that_ask_at_the_same_time_cost_one_look(stack: Stack, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, asked = stack.log.end, list[int]()

    async def counted() -> dict[int, int]:
        asked.append(1)
        return await ends()

    monkeypatch.setattr(stack.log, "end", counted)
    answers = await asyncio.gather(*(stack.call("GET", path, key=None) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200} and len(asked) <= 3


async def test_a_partition_that_no_consumer_moves_is_named_and_counted_while_recalls_are_answered(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns it, and also where none does: the service sees the log and the ledger."""
    key, now = await stack.key(), [0.0]
    monkeypatch.setattr(stack.app.state.parts.stalls, "_clock", lambda: now[0])
    await stack.remember("acme", key=key)
    await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "late", "wait_seconds": 0})
    account = (await stack.call("GET", "/v1/accounting", key=key)).json()
    [behind] = [one["partition"] for one in account["partitions"] if one["lag"]]

    async def said() -> tuple[list[int], str]:
        response = await stack.call("GET", "/health/ready", key=None)
        assert response.status_code == 200
        text = (await stack.call("GET", "/metrics", key=None)).text
        [line] = re.findall(r"(?m)^crewmem_stalled_partitions (.*)$", text)
        return response.json()["stalled"], line

    assert await said() == ([], "0.0")
    now[0] = STALLED_SECONDS
    assert await said() == ([behind], "1.0")
    with monkeypatch.context() as patch:
        patch.setattr(stack.log, "end", away)
        assert (await stack.call("GET", "/health/ready", key=None)).status_code == 503
    assert await said() == ([], "0.0"), "it stood still because the log was away, which was said"


async def test_ready_names_partitions_of_which_files_are_gone_and_is_no_503_while_another_answers(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryReader, "damage", lambda self, partitions: {1: "mem_g1_p01 is gone. `crewmem replay` builds"})
    response = await stack.call("GET", "/health/ready", key=None)
    assert (response.status_code, response.json()["damaged"]) == (200, [1])
    assert response.json()["checks"]["store"] == "partition 1: mem_g1_p01 is gone. `crewmem replay` builds"
    text = (await stack.call("GET", "/metrics", key=None)).text
    assert re.findall(r"(?m)^crewmem_damaged_partitions (.*)$", text) == ["1.0"]


async def test_ready_is_503_where_every_partition_is_damaged(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryReader, "damage", lambda self, partitions: dict.fromkeys(partitions, "its table is gone"))
    response = await stack.call("GET", "/health/ready", key=None)
    assert response.status_code == 503 and "partition 0: its table is gone" in response.json()["message"]
