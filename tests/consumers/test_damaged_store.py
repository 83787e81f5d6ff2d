"""A store whose files are gone or were changed: consumers say so, and a replay builds from the log alone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.health import Health
from crewmem_consumers.replay import Replayed
from crewmem_consumers.store_check import StoreCheck
from crewmem_producers.codec import encode
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.topics import ensure_topics
from crewmem_store.errors import StoreRefused
from crewmem_store.lance import LanceStore
from support import machine as machines
from support.awaiting import until
from support.damage import change_bytes
from support.pipeline import remember
from support.replaying import Machine

SECONDS = 120
TEXTS = [f"Acme opened office number {number} in Lyon." for number in range(4)]
LATER = "Globex hired nine engineers."

Damage = Callable[[Machine], None]


@asynccontextmanager
async def remembered(folder: Path, **settings: Any) -> AsyncIterator[Machine]:
    """A machine whose store is a folder; four memories are in it, of one commit each, and nothing consumes."""
    async with machines.machine_in(folder, Machine, kafka_partitions=1, **settings) as machine:
        open_again(machine)
        async with machine.consuming():
            for number, text in enumerate(TEXTS):
                await put(machine, text, number)
                await machine.processed(number)
        yield machine


def open_again(machine: Machine) -> None:
    """As a process that starts opens it: nothing that was read before is kept."""
    machine.store = LanceStore(machine.settings.store_uri)  # type: ignore[assignment]
    machine.store.open(namespace=machine.settings.namespace)


async def put(machine: Machine, text: str, number: int) -> None:
    await machine.log.append([encode(remember(text, number=number, session="s"))])


def contents(machine: Machine, generation: str) -> list[str]:
    rows = machine.store.reader(generation).rows(["default/s"], partitions=[0]).rows
    return [row.content or "" for row in rows]


def table(machine: Machine, generation: str = "g1") -> Path:
    return Path(machine.settings.store_uri) / f"mem_{generation}_p00.lance"


def lose_a_file(machine: Machine) -> None:
    min((table(machine) / "data").iterdir(), key=lambda path: path.stat().st_mtime).unlink()


def lose_the_table(machine: Machine) -> None:
    shutil.rmtree(table(machine))


def change_a_vector(machine: Machine) -> None:
    assert machine.embedder is not None
    [row] = machine.store.reader("g1").by_event("event-00001")
    assert row.vector is not None
    change_bytes(table(machine), row.vector.tobytes(), (-row.vector).tobytes())


async def replayed(machine: Machine) -> Replayed:
    return await asyncio.wait_for(machine.replay(), SECONDS)


@pytest.mark.parametrize("damage", [lose_a_file, lose_the_table, change_a_vector])
async def test_a_replay_brings_every_memory_back_from_the_log_alone(tmp_path: Path, damage: Damage) -> None:
    async with remembered(tmp_path) as machine:
        vectors = {row.id: row.vector for row in machine.store.reader("g1").rows(["default/s"], partitions=[0]).rows}
        damage(machine)
        open_again(machine)
        done = await replayed(machine)
        found = machine.store.reader(done.generation).rows(["default/s"], partitions=[0]).rows
        assert done.activated and [row.content for row in found] == TEXTS
        assert all((row.vector == vectors[row.id]).all() for row in found)


async def ends_beside_a_consumer(machine: Machine, damage: Damage) -> None:
    damage(machine)
    open_again(machine)
    async with machine.consuming():
        await put(machine, LATER, 9)
        await until(lambda: damaged(machine.health) is not None, what="the consumer says that the store is damaged")
        assert not machine.health.ready and "`crewmem replay`" in (damaged(machine.health) or "")
        machine.health.measure()
        assert machine.health.metrics.registry.get_sample_value("crewmem_damaged_partitions") == 1
        done = await replayed(machine)
        assert contents(machine, done.generation) == [*TEXTS, LATER]


@pytest.mark.parametrize("damage", [lose_a_file, lose_the_table])
async def test_a_consumer_says_which_files_are_gone_and_a_replay_ends_beside_it(tmp_path: Path, damage: Damage) -> None:
    async with remembered(tmp_path) as machine:
        await ends_beside_a_consumer(machine, damage)


@pytest.mark.kafka
async def test_on_kafka_a_consumer_with_a_damaged_store_builds_the_replay_itself(
    tmp_path: Path, kafka: str, namespace: str
) -> None:
    given = {"kafka_bootstrap": kafka, "namespace": namespace}
    await ensure_topics(ConsumerSettings(kafka_partitions=1, **given))
    async with remembered(tmp_path, **given) as machine:
        await ends_beside_a_consumer(machine, lose_a_file)


async def test_a_memory_that_is_not_what_was_written_is_found_by_the_check_of_the_store(tmp_path: Path) -> None:
    async with remembered(tmp_path) as machine:
        health = Health()
        status = health.adopt("g1", 0)
        check = StoreCheck(machine.store, health, first_seconds=0, every_seconds=0)
        await check.look()
        assert status.damaged is None
        change_a_vector(machine)
        await check.look()
        assert status.damaged is not None and "rows of mem_g1_p00 that are not what was written: 1" in status.damaged
        assert "`crewmem replay`" in status.damaged


async def test_what_was_put_back_is_found_whole_again(tmp_path: Path) -> None:
    async with remembered(tmp_path) as machine:
        health = Health()
        status = health.adopt("g1", 0)
        check = StoreCheck(machine.store, health, first_seconds=0, every_seconds=0, again_seconds=0)
        aside = table(machine).rename(tmp_path / "aside")
        await check.look()
        assert status.damaged is not None and "mem_g1_p00 is gone" in status.damaged
        aside.rename(table(machine))
        await check.look()
        assert status.damaged is None


async def test_a_partition_is_read_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    async with remembered(tmp_path) as machine:
        health = Health()
        status = health.adopt("g1", 0)
        shutil.rmtree(table(machine))
        await StoreCheck(machine.store, health, first_seconds=3600).look()
        assert status.damaged is None


async def test_a_generation_that_is_damaged_while_it_is_built_ends_the_replay_with_what_to_do(tmp_path: Path) -> None:
    async with remembered(tmp_path) as machine:

        def checkpoint(name: str) -> None:
            if name == "ledger_written" and table(machine, "g2").exists():
                shutil.rmtree(table(machine, "g2"))

        machine.store._checkpoint = checkpoint  # type: ignore[attr-defined]
        await put(machine, LATER, 9)
        with pytest.raises(StoreRefused, match=r"g2, which is built, is damaged.*`crewmem generations drop g2`"):
            await asyncio.wait_for(machine.replay(), SECONDS)


def damaged(health: Health) -> str | None:
    return next((status.damaged for status in health.partitions.values() if status.damaged), None)
