"""Keeping the registry in order, and what is said while that cannot be done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from crewmem_producers import data_keys, erasing, master_key, openers, producer_report, upkeep
from crewmem_producers.keyring import Keyring
from crewmem_producers.master_key import MasterKeys
from support.awaiting import until
from support.registries import DictRegistry

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MASTER = MasterKeys.parse(master_key.generate())


def seen(ago: timedelta) -> dict[str, str]:
    return {"seen_at": (NOON - ago).isoformat()}


async def test_processes_and_hosts_that_are_gone_for_long_leave_the_registry() -> None:
    registry, second = DictRegistry(), timedelta(seconds=1)
    for prefix, kept in upkeep.KEPT.items():
        await registry.put(f"{prefix}there", seen(timedelta(0)))
        await registry.put(f"{prefix}away", seen(kept - second))
        await registry.put(f"{prefix}gone", seen(kept))
        for n, odd in enumerate(({}, {"seen_at": 3}, {"seen_at": "2026-01-02T12:00:00"})):
            await registry.put(f"{prefix}odd{n}", odd)
    await registry.put("apikey/a", seen(timedelta(days=9999)))
    await upkeep.once(registry, now=NOON)
    expected = {f"{prefix}{name}" for prefix in (openers.PREFIX, producer_report.PREFIX) for name in ("there", "away")}
    assert set(registry.items("")) == expected | {"apikey/a"}


async def test_a_data_key_that_an_erasure_names_and_that_is_back_is_erased_again() -> None:
    registry, key = DictRegistry(), "acme/" + "0" * 32
    note = {"event_id": "e", "time": NOON.isoformat(), "grave": "g", "done": True, "keys": ["k"]}
    await registry.put(f"{erasing.PREFIX}{key}", note)
    await registry.put(f"{data_keys.PREFIX}k", {"wrapped": "again", "scope_key": key})
    await upkeep.once(registry, now=NOON)
    assert data_keys.is_erased(registry.get(f"{data_keys.PREFIX}k") or {})


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("what", ["announce", "keep"])
async def test_what_cannot_be_done_for_a_while_is_one_warning_and_one_line_when_it_works_again(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crewmem_producers")
    for name in ("LOOK_SECONDS", "RENEW_SECONDS"):
        monkeypatch.setattr(openers, name, 0.01)
    monkeypatch.setattr(upkeep, "EVERY_SECONDS", 0.01)
    registry = DictRegistry()
    await registry.put(f"{openers.PREFIX}gone", seen(timedelta(days=999)))
    ring = Keyring(registry=registry, master=lambda: MASTER)
    registry.away = True
    tried = []
    monkeypatch.setattr(registry, "_answer", _counted(registry, tried))
    work = openers.announce(registry, ring, source="host") if what == "announce" else upkeep.keep(registry)
    async with running(work):
        await until(lambda: len(tried) > 5, what="some tries")
        assert [one.levelname for one in caplog.records] == ["WARNING"]
        registry.away = False
        await until(lambda: len(caplog.records) > 1, what="the end of it")
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO"]


def _counted(registry: DictRegistry, tried: list[None]) -> Any:
    answer = registry._answer

    def counting() -> None:
        tried.append(None)
        answer()

    return counting
