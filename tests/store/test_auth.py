"""Who may call: keys, rights, sessions and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from crewmem_producers.errors import RegistryUnavailable
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_store import keys
from crewmem_store.keys import Right
from support.service import NOON, Stack, refused_with, running_stack

CALLS = [
    (Right.WRITE, "POST", "/v1/memory/remember", {"json": {"content": "a", "wait_seconds": 0}}),
    (Right.WRITE, "DELETE", "/v1/memory/forget/0-1", {}),
    (Right.WRITE, "POST", "/v1/events", {"content": b"[]", "headers": {"content-type": "application/cloudevents-batch+json"}}),
    (Right.READ, "GET", "/v1/memory/recall?q=a", {}),
    (Right.READ, "POST", "/v1/memory/recall", {"json": {"q": "a"}}),
    (Right.READ, "GET", "/v1/memory/list", {}),
    (Right.ADMIN, "GET", "/v1/accounting", {}),
]
OPEN = ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"]
KEY = "am_live_" + "0123456789abcdef" * 2


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


@pytest.mark.parametrize(("right", "method", "path", "request_"), CALLS)
async def test_each_call_needs_a_key_with_its_right(
    stack: Stack, right: Right, method: str, path: str, request_: dict[str, object]
) -> None:
    refused_with(await stack.call(method, path, key=None, **request_), 401, "missing_api_key")
    refused_with(await stack.call(method, path, key=KEY, **request_), 401, "invalid_api_key")
    without = await stack.key(rights=[other for other in Right if other not in (right, Right.OPERATOR)])
    refused_with(await stack.call(method, path, key=without, **request_), 403, "forbidden_right")
    response = await stack.call(method, path, key=await stack.key(rights=[right]), **request_)
    assert response.status_code in (200, 202) or (path.endswith("/0-1") and response.status_code == 404)


@pytest.mark.parametrize("path", OPEN)
async def test_health_metrics_and_docs_need_no_key(stack: Stack, path: str) -> None:
    assert (await stack.call("GET", path, key=None)).status_code == 200


async def test_a_revoked_and_an_expired_key_are_refused(stack: Stack) -> None:
    revoked, expiring = await stack.key(name="r"), await stack.key(name="e", expires_at=NOON + timedelta(hours=1))
    await keys.revoke(stack.registry, "r", clock=stack.clock)
    stack.clock.pass_(hours=1)
    for key in (revoked, expiring):
        refused_with(await stack.call("GET", "/v1/memory/list", key=key), 401, "invalid_api_key")


async def test_what_a_key_is_refused_for_is_said_before_its_body_is_read(stack: Stack) -> None:
    request = {"content": b"{not json", "headers": {"content-type": "application/json"}}
    refused_with(await stack.call("POST", "/v1/memory/remember", key=None, **request), 401, "missing_api_key")


async def test_the_scheme_may_be_written_in_any_case(stack: Stack) -> None:
    key = await stack.key()
    response = await stack.call("GET", "/v1/memory/list", key=None, headers={"Authorization": f"bearer  {key}"})
    assert response.status_code == 200


async def test_a_rate_limit_is_by_key_and_fills_again_within_a_minute(tmp_path: Path) -> None:
    async with running_stack(tmp_path, rate_limit_per_minute=2) as stack:
        one, other = await stack.key(), await stack.key()
        answers = [await stack.call("GET", "/v1/memory/list", key=one) for _ in range(3)]
        assert [answer.status_code for answer in answers[:2]] == [200, 200]
        refused_with(answers[2], 429, "rate_limited")
        assert answers[2].headers["Retry-After"] == "30"
        assert (await stack.call("GET", "/v1/memory/list", key=other)).status_code == 200
        stack.clock.pass_(seconds=30)
        statuses = [(await stack.call("GET", "/v1/memory/list", key=one)).status_code for _ in range(2)]
        assert statuses == [200, 429]


async def test_wrong_keys_of_an_address_are_limited_and_hinder_no_right_one(tmp_path: Path) -> None:
    async with running_stack(tmp_path, wrong_keys_per_minute=3) as stack:
        right = await stack.key()
        for _ in range(3):
            refused_with(await stack.call("GET", "/v1/memory/list", key=KEY), 401, "invalid_api_key")
        limited = await stack.call("GET", "/v1/memory/list", key=KEY)
        refused_with(limited, 429, "too_many_wrong_keys")
        assert limited.headers["Retry-After"] == "20"
        assert (await stack.call("GET", "/v1/memory/list", key=right)).status_code == 200


async def test_what_is_refused_leaves_a_line_and_a_count_and_never_the_key(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await stack.key(rights=[Right.READ])
    for _ in range(40):
        await stack.call("GET", "/v1/memory/list", key=KEY)
    await stack.call("GET", "/v1/memory/list", key=None)
    await stack.call("POST", "/v1/memory/remember", key=reader, json={"content": "a"})
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("refused ")]
    assert [line.split(" to ")[0] for line in lines] == [
        "refused 401 invalid_api_key", "refused 401 missing_api_key", "refused 403 forbidden_right"
    ]  # fmt: skip
    assert keys.hash_key(KEY)[:8] in lines[0] and keys.hash_key(reader)[:8] in lines[2] and "/v1/memory/remember" in lines[2]
    assert KEY not in caplog.text and reader not in caplog.text
    metrics = (await stack.call("GET", "/metrics", key=None)).text
    assert 'crewmem_refused_total{code="invalid_api_key"} 40.0' in metrics


async def test_a_key_that_another_process_made_just_now_is_known(stack: Stack, tmp_path: Path) -> None:
    elsewhere = SqliteRegistry(tmp_path / "log.sqlite3", namespace="crewmem")
    await elsewhere.start()
    key = await keys.create(elsewhere, tenant="acme", name="new", sessions=["*"], rights=["read"], clock=stack.clock)
    await elsewhere.close()
    assert (await stack.call("GET", "/v1/memory/list", key=key)).status_code == 200


async def test_wrong_keys_make_the_registry_read_once_a_second_at_most(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[datetime] = []

    async def refresh() -> None:
        read.append(stack.clock())

    monkeypatch.setattr(stack.registry, "refresh", refresh)
    for _ in range(5):
        refused_with(await stack.call("GET", "/v1/memory/list", key=KEY), 401, "invalid_api_key")
    stack.clock.pass_(seconds=1)
    refused_with(await stack.call("GET", "/v1/memory/list", key=KEY), 401, "invalid_api_key")
    assert len(read) == 2


async def test_a_registry_that_is_away_makes_no_known_key_wrong(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> None:
        raise RegistryUnavailable("no broker answers")

    known = await stack.key()
    monkeypatch.setattr(stack.registry, "refresh", away)
    assert (await stack.call("GET", "/v1/memory/list", key=known)).status_code == 200
    refused_with(await stack.call("GET", "/v1/memory/list", key=KEY), 503, "unavailable")
