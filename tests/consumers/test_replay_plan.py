"""Which generation a replay builds: one that was begun, or a new one whose name nobody else has."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from crewmem_consumers.errors import LogShortened
from crewmem_producers.connect import open_registry
from crewmem_producers.registry import Registry
from crewmem_store import generations, switch
from crewmem_store.errors import UnknownGeneration
from support.logged import remembered, remembered_record
from support.replaying import Machine, machine_in


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """Nine memories are on its log, and nothing has read them."""
    async with machine_in(tmp_path / "machine") as made:
        await made.log.append([remembered_record(number) for number in range(9)])
        yield made


@asynccontextmanager
async def another_process_of(machine: Machine) -> AsyncIterator[Machine]:
    """The same machine with a view of its own of the registry."""
    registry = open_registry(machine.settings)
    await registry.start()
    try:
        yield replace(machine, registry=registry, progress=[])
    finally:
        await registry.close()


def planned_at_once(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two replays have planned before the first one claims a name. Gives the names of the generations that are saved."""
    claim, save, both, saved = generations.claim, generations.save, asyncio.Barrier(2), list[str]()

    async def claimed(registry: Registry, name: str) -> bool:
        if not saved:
            await both.wait()
        return await claim(registry, name)

    async def noted(registry: Registry, generation: generations.Generation) -> None:
        saved.append(generation.name)
        await save(registry, generation)

    monkeypatch.setattr(generations, "claim", claimed)
    monkeypatch.setattr(generations, "save", noted)
    return saved


async def test_of_two_that_plan_at_once_one_adds_the_generation_and_both_build_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.replay()
    saved = planned_at_once(monkeypatch)
    async with another_process_of(machine) as other:
        done = await asyncio.gather(machine.replay(activate=False), other.replay(activate=False))
    assert [one.generation for one in done] == ["g2", "g2"] and saved == ["g2"]
    assert machine.contents("g2") == machine.contents("g1")


async def test_control_without_the_claim_one_of_them_builds_what_the_other_has_replaced(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(registry: Registry, name: str) -> bool:
        return True

    await machine.replay()
    monkeypatch.setattr(generations, "claim", always)
    saved = planned_at_once(monkeypatch)
    async with another_process_of(machine) as other:
        await asyncio.gather(machine.replay(activate=False), other.replay(activate=False))
    assert saved == ["g2", "g2"]


async def test_of_two_first_ones_at_once_both_build_the_first_generation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = planned_at_once(monkeypatch)
    async with another_process_of(machine) as other:
        done = await asyncio.gather(machine.replay(), other.replay())
    assert [one.generation for one in done] == ["g1", "g1"] and saved == ["g1"]


async def test_two_that_want_different_things_at_once_get_a_generation_each(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.replay()
    planned_at_once(monkeypatch)
    async with another_process_of(machine) as other:
        done = await asyncio.gather(machine.replay(activate=False), other.replay(activate=False, since=remembered(5).time))
    assert {one.generation for one in done} == {"g2", "g3"}
    await machine.registry.refresh()
    assert sorted(one.since is None for one in generations.live(machine.registry)) == [False, True, True]


async def test_a_name_is_not_waited_for_when_the_one_that_claimed_it_has_died(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_consumers.replay_plan.SAVE_SECONDS", 0.0)
    await machine.replay()
    assert await generations.claim(machine.registry, "g2")
    assert (await machine.replay()).generation == "g3"


async def test_tables_that_a_lost_registry_left_are_not_built_into_and_can_be_dropped(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await machine.replay()
    await machine.replay()
    async with machine_in(tmp_path / "without") as lost:
        lost.store = machine.store
        await lost.log.append([remembered_record(number) for number in range(100, 103)])
        done = await lost.replay()
        assert (done.generation, done.records, len(lost.contents("g3"))) == ("g3", 3, 3)
        assert len(machine.contents("g1")) == len(machine.contents("g2")) == 9, "what may be another log's is not touched"
        assert "`crewmem generations drop g2` removes them" in caplog.text
        for name in ("g1", "g2"):
            await switch.drop(name, registry=lost.registry, store=lost.store)
        assert lost.store.generations() == {"g3"}
        with pytest.raises(UnknownGeneration):
            await switch.drop("g2", registry=lost.registry, store=lost.store)


def delete_from_the_start(machine: Machine, offset: int) -> None:
    """As `kafka-delete-records` does it, to the log of one machine."""
    with sqlite3.connect(machine.settings.home / "log.sqlite3") as connection:
        connection.execute('DELETE FROM log_records WHERE "offset" < ?', (offset,))
    connection.close()


async def test_a_replay_over_a_log_that_lost_its_start_is_refused_and_says_what_would_be_lost(machine: Machine) -> None:
    await machine.replay()
    before = machine.contents("g1")
    delete_from_the_start(machine, 4)
    with pytest.raises(LogShortened, match=r"offsets 0 to 3 of partition 0 \(4 stored\).*memories of 4 events.*--accept-loss"):
        await machine.replay()
    assert [one.name for one in generations.live(machine.registry)] == ["g1"], "nothing was begun"
    assert generations.active(machine.registry).name == "g1" and machine.contents("g1") == before


async def test_an_accepted_loss_is_said_and_is_not_asked_about_again(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    await machine.replay()
    kept = dict(sorted(machine.contents("g1").items())[4:])
    delete_from_the_start(machine, 4)
    assert (await machine.replay(accept_loss=True)).activated
    assert machine.contents("g2") == kept
    assert "offsets 0 to 3" in caplog.text and "accepted" in caplog.text
    await switch.drop("g1", registry=machine.registry, store=machine.store)
    assert (await machine.replay()).activated, "what g2 was made from is all there"
