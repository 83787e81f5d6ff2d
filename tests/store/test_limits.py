"""What calls may hold while they last, and how a body is read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from crewmem_producers.limits import BATCH_BYTES, REQUEST_BYTES
from crewmem_store.errors import RequestRefused
from crewmem_store.service import limits
from crewmem_store.service.buckets import Buckets
from crewmem_store.service.limits import Share, read_body
from starlette.datastructures import Headers
from starlette.types import Message

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def share(total: int = 10**9, per_tenant: int = 10**9) -> Share:
    return Share(total=total, per_tenant=per_tenant, what="bytes")


def test_a_tenants_part_is_bounded_and_given_back() -> None:
    made = share(total=10, per_tenant=4)
    with made.of("a") as first, made.of("a") as second:
        first.take(3)
        with pytest.raises(RequestRefused) as refused:
            second.take(2)
        assert (refused.value.status, refused.value.code) == (429, "busy") and refused.value.headers["Retry-After"]
    with made.of("a") as again:
        again.take(4)


def test_past_all_of_it_every_tenant_is_asked_to_come_again() -> None:
    made = share(total=5, per_tenant=4)
    with made.of("a") as first, made.of("b") as second:
        first.take(4)
        with pytest.raises(RequestRefused) as refused:
            second.take(2)
        assert (refused.value.status, refused.value.code) == (503, "unavailable")
        second.take(1)


async def body(chunks: list[bytes], *, path: str = "/v1/memory/remember", held: Share | None = None) -> bytes:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    with (held or share()).of("a") as mine:
        return await read_body(receive, path=path, headers=Headers({}), held=mine)


async def test_a_body_over_its_bound_is_413_as_soon_as_it_is() -> None:
    assert len(await body([b"a" * REQUEST_BYTES])) == REQUEST_BYTES
    for path, most in (("/v1/memory/remember", REQUEST_BYTES), ("/v1/events", BATCH_BYTES)):
        with pytest.raises(RequestRefused) as refused:
            await body([b"a" * most, b"a"], path=path)
        assert refused.value.status == 413


async def test_bodies_of_one_tenant_take_no_more_than_its_part_of_the_memory() -> None:
    with pytest.raises(RequestRefused) as refused:
        await body([b"a" * 60, b"a" * 60], held=share(per_tenant=100))
    assert refused.value.status == 429


async def test_a_body_that_trickles_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with share().of("a") as held, pytest.raises(RequestRefused) as refused:
        await read_body(never, path="/v1/memory/remember", headers=Headers({}), held=held)
    assert (refused.value.status, refused.value.code) == (408, "timeout")


def test_a_bucket_fills_again_and_what_it_owes_is_paid_first() -> None:
    now = [NOON]
    buckets = Buckets(60, clock=lambda: now[0])
    assert buckets.take("a", 60) == 0 and buckets.take("a") == 1 and buckets.take("b") == 0
    now[0] += timedelta(seconds=1)
    assert buckets.take("a") == 0
    now[0] += timedelta(hours=1)
    assert buckets.take("a", 180) == 0
    assert buckets.take("a", 500) == 180
    now[0] += timedelta(seconds=180)
    assert buckets.take("a", 500) == 0
