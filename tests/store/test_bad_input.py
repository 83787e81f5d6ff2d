"""Whatever comes through the HTTP door: an answer in the one shape, never a 5xx, never a 422."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.service import Stack, refused_with, running_stack

REMEMBER, RECALL, LIST = "/v1/memory/remember", "/v1/memory/recall", "/v1/memory/list"
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_content"),
        ({"content": ""}, "invalid_content"),
        ({"content": "  \n "}, "invalid_content"),
        ({"content": None}, "invalid_content"),
        ({"content": 7}, "invalid_content"),
        ({"content": ["a"]}, "invalid_content"),
        ({"content": "a\x00b"}, "invalid_content"),
        ({"content": "\ud800"}, "invalid_content"),
        ({"content": "x" * 10_001}, "content_too_long"),
        ({"content": "a", "session": ""}, "invalid_request"),
        ({"content": "a", "session": "*"}, "invalid_request"),
        ({"content": "a", "session": "a\x00"}, "invalid_request"),
        ({"content": "a", "session": "\udfff"}, "invalid_request"),
        ({"content": "a", "session": "x" * 201}, "invalid_request"),
        ({"content": "a", "session": ["a"]}, "invalid_request"),
        ({"content": "a", "metadata": []}, "invalid_request"),
        ({"content": "a", "metadata": {"a": float("nan")}}, "invalid_request"),
        ({"content": "a", "metadata": {"a": float("inf")}}, "invalid_request"),
        ({"content": "a", "metadata": {"a": "\ud83d"}}, "invalid_request"),
        ({"content": "a", "metadata": {"a": "x" * 70_000}}, "invalid_request"),
        ({"content": "a", "ttl": 0}, "invalid_request"),
        ({"content": "a", "ttl": -1}, "invalid_request"),
        ({"content": "a", "ttl": float("inf")}, "invalid_request"),
        ({"content": "a", "ttl": 1e30}, "invalid_request"),
        ({"content": "a", "ttl": "soon"}, "invalid_request"),
        ({"content": "a", "importance": 2}, "invalid_request"),
        ({"content": "a", "kind": "Not A Kind"}, "invalid_request"),
        ({"content": "a", "created_at": "yesterday"}, "invalid_request"),
        ({"content": "a", "created_at": "9999-12-31T23:59:59-12:00"}, "invalid_request"),
        ({"content": "a", "wait_seconds": 31}, "invalid_request"),
        ({"content": "a", "sesion": "b"}, "invalid_request"),
        ({"content": "a", "\ud800": "b"}, "invalid_request"),
        ([], "invalid_request"),
        ("text", "invalid_request"),
        (None, "invalid_request"),
    ],
)
async def test_a_bad_remember_is_refused_by_its_code(stack: Stack, body: Any, code: str) -> None:
    key = await stack.key()
    content = json.dumps(body).encode()
    response = await stack.call("POST", REMEMBER, key=key, content=content, headers={"content-type": "application/json"})
    refused_with(response, 400, code)
    assert await stack.log.end() == {0: 0, 1: 0, 2: 0}


@pytest.mark.parametrize("path", [REMEMBER, RECALL])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"content": "a"',
        b"\xff\xfe",
        DEEP.encode(),
        b'{"content": ' + b"9" * 10_000 + b"}",
        b"null",
        b'{"a":1e999}',
    ],
    ids=["nothing", "brace", "half", "not-utf8", "deep", "big-number", "null", "infinite"],
)
async def test_a_body_that_is_no_json_object_is_400(stack: Stack, path: str, content: bytes) -> None:
    key = await stack.key()
    response = await stack.call("POST", path, key=key, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense", ""]
)
async def test_a_wrong_content_type_is_400(stack: Stack, content_type: str) -> None:
    key = await stack.key()
    for path in (REMEMBER, RECALL, "/v1/events"):
        response = await stack.call("POST", path, key=key, content=b'{"content": "a"}', headers={"content-type": content_type})
        refused_with(response, 400, "invalid_request")


async def test_a_refusal_says_what_to_do_instead(stack: Stack) -> None:
    key = await stack.key()
    misspelt = await stack.call("GET", "/v1/memory/recall?q=a&sesion=b", key=key)
    assert misspelt.json()["message"] == "query.sesion: this call has no such field; /docs lists those that it has"
    form = await stack.call("POST", REMEMBER, key=key, content=b"a", headers={"content-type": "text/plain"})
    assert "Content-Type: application/json" in form.json()["message"]
    assert "/docs" in (await stack.call("GET", "/v1/memories", key=key)).json()["message"]


async def test_metadata_nested_without_end_is_400(stack: Stack) -> None:
    key = await stack.key()
    nested = b'{"a":' * 500 + b"1" + b"}" * 500
    for path, name in ((REMEMBER, b"content"), (RECALL, b"q")):
        body = b'{"' + name + b'": "a", "metadata": ' + nested + b"}"
        response = await stack.call("POST", path, key=key, content=body, headers={"content-type": "application/json"})
        refused_with(response, 400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "missing_query"),
        ("q=", "missing_query"),
        ("q=+", "missing_query"),
        ("q=%00", "invalid_request"),
        ("q=a&top_k=0", "invalid_request"),
        ("q=a&top_k=101", "invalid_request"),
        ("q=a&top_k=many", "invalid_request"),
        ("q=a&threshold=2", "invalid_request"),
        ("q=a&threshold=nan", "invalid_request"),
        ("q=a&after=nonsense", "invalid_request"),
        ("q=a&after=", "invalid_request"),
        ("q=a&after=1.99.0", "invalid_request"),
        ("q=a&after=1.0." + "9" * 5000, "invalid_request"),
        ("q=a&as_of=now", "invalid_request"),
        ("q=a&as_of=1e300", "invalid_request"),
        ("q=a&since=0001-01-01T00:00:00%2B23:59", "invalid_request"),
        ("q=a&metadata=x", "invalid_request"),
        ("q=a&metadata=[1]", "invalid_request"),
        ("q=a&metadata=" + "%5B" * 5000, "invalid_request"),
        ("q=a&format=xml", "invalid_request"),
        ("q=a&max_tokens=0", "invalid_request"),
        ("q=a&session=", "invalid_request"),
        ("q=a&session=%01", "invalid_request"),
        ("q=a&wait_seconds=inf", "invalid_request"),
        ("q=a&topk=3", "invalid_request"),
    ],
)
async def test_a_bad_question_is_refused_by_its_code(stack: Stack, query: str, code: str) -> None:
    refused_with(await stack.call("GET", f"{RECALL}?{query}", key=await stack.key()), 400, code)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "offset=1e9999", "limit=a", "session=%07", "page=2"])
async def test_a_bad_list_is_400(stack: Stack, query: str) -> None:
    refused_with(await stack.call("GET", f"{LIST}?{query}", key=await stack.key()), 400, "invalid_request")


async def test_a_body_over_the_limit_is_413_whatever_its_length_says(stack: Stack) -> None:
    key = await stack.key()
    big = b'{"content": "' + b"x" * 5_000_000 + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 100_000):
            yield big[start : start + 100_000]

    json_type = {"content-type": "application/json"}
    refused_with(await stack.call("POST", REMEMBER, key=key, content=big, headers=json_type), 413, "too_large")
    refused_with(await stack.call("POST", REMEMBER, key=key, content=chunks(), headers=json_type), 413, "too_large")
    over = {"content-type": BATCH_CONTENT_TYPE, "content-length": str(20 * 1024 * 1024)}
    refused_with(await stack.call("POST", "/v1/events", key=key, content=b"[]", headers=over), 413, "too_large")


async def test_an_unknown_path_or_method_has_the_shape_too(stack: Stack) -> None:
    key = await stack.key()
    refused_with(await stack.call("GET", "/v1/nothing", key=key), 404, "not_found")
    refused_with(await stack.call("GET", "/nothing", key=None), 404, "not_found")
    refused_with(await stack.call("PUT", REMEMBER, key=key), 405, "method_not_allowed")
    refused_with(await stack.call("DELETE", "/v1/memory/forget/", key=key), 404, "not_found")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic abc", "am_live_x", ""])
async def test_a_header_without_a_key_is_401(stack: Stack, header: str) -> None:
    response = await stack.call("GET", LIST, key=None, headers={"Authorization": header})
    refused_with(response, 401, "missing_api_key")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["content", "session", "metadata", "ttl", "key", "importance", "kind", "parent", "speaker", "created_at",
          "q", "top_k", "threshold", "after", "as_of", "crew", "since", "until", "format", "max_tokens", "explain"]  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5),
    base=st.booleans(),
    path=st.sampled_from([REMEMBER, RECALL]),
)
def test_any_json_is_answered_in_the_shape(
    tmp_path_factory: pytest.TempPathFactory, body: dict[str, Any], base: bool, path: str
) -> None:
    async def ask() -> None:
        async with running_stack(tmp_path_factory.mktemp("fuzz")) as stack:
            key = await stack.key()
            full = ({"content": "a"} if path == REMEMBER else {"q": "a"}) | body if base else body
            content = json.dumps(full | {"wait_seconds": 0}).encode()
            response = await stack.call("POST", path, key=key, content=content, headers={"content-type": "application/json"})
            assert response.status_code in (200, 202, 400, 403), (response.text, full)
            if response.status_code >= 400:
                assert set(response.json()) == {"error", "message"}

    asyncio.run(ask())


CLOUD_EVENT = st.fixed_dictionaries({
    "specversion": st.just("1.0"), "id": st.text(max_size=5) | st.just("e-1"), "type": st.just("crewmem.memory.remembered"),
    "time": st.just("2026-01-01T00:00:00Z") | st.text(max_size=8),
    "data": st.fixed_dictionaries(
        {"schema_version": st.just(1), "session": st.text(max_size=4) | st.just("s"), "content": st.just("a")},
        optional={"metadata": JSON, "ttl": JSON, "extra": JSON},
    ),
})  # fmt: skip


@given(items=st.lists(JSON | CLOUD_EVENT, max_size=4))
@settings(max_examples=150)
def test_any_batch_is_answered_for_each_event(tmp_path_factory: pytest.TempPathFactory, items: list[Any]) -> None:
    async def ask() -> None:
        async with running_stack(tmp_path_factory.mktemp("fuzz")) as stack:
            key = await stack.key()
            content = json.dumps(items).encode()
            response = await stack.call(
                "POST", "/v1/events", key=key, content=content, headers={"content-type": BATCH_CONTENT_TYPE}
            )
            assert response.status_code == 200, response.text
            results = response.json()["results"]
            assert len(results) == len(items)
            for result in results:
                assert set(result) == {"id", "status", "token" if result["status"] == "accepted" else "error"}
            await stack.consume()

    asyncio.run(ask())
