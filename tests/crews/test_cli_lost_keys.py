"""`crewmem keys lost`: where the registry lost a data key, consumers wait until it is restored or what it sealed given up."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_producers import data_keys, master_key
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry, open_sealer, sqlite_path
from crewmem_producers.log import Record
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import ConsumerSettings, load
from crewmem_store.connect import open_store
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.store import Store
from support.awaiting import until
from support.logged import remembered_record
from support.pipeline import forget
from typer.testing import CliRunner, Result


async def crewmem(*arguments: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments)))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsumerSettings:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CREWMEM_MASTER_KEY", master_key.generate())
    (tmp_path / "home").mkdir()
    return load(ConsumerSettings, batch_wait_ms=0)


async def publish(settings: ConsumerSettings) -> list[Record]:
    """Two sealed records of one session, and one of another."""
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    sealer = open_sealer(settings, registry)
    assert sealer is not None
    records = [remembered_record(0, session="ann"), remembered_record(1, session="ann"), remembered_record(2, session="bob")]
    sealed = await sealer.seal(records)
    await log.append(sealed)
    await registry.close()
    await log.close()
    return sealed


def lose(settings: ConsumerSettings, id: str) -> None:
    """The registry's record of the data key is gone, as when a registry is put back from a copy that is too old."""
    with closing(sqlite3.connect(sqlite_path(settings))) as connection, connection:
        gone = connection.execute("DELETE FROM registry WHERE key = ?", (data_keys.PREFIX + id,)).rowcount
    assert gone == 1


def outcomes(store: Store) -> list[tuple[str, str | None]]:
    return [(str(row.outcome), row.reason) for row in store.reader("g1").ledger(0, start=0, limit=10)]


@asynccontextmanager
async def consuming(settings: ConsumerSettings, store: Store) -> AsyncIterator[Health]:
    stop, health = asyncio.Event(), Health()
    task = asyncio.create_task(run(settings, stop=stop, store=store, embedder=HashingEmbedder(), health=health))
    try:
        yield health
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def waits(health: Health, id: str) -> None:
    remedy = f"crewmem keys lost {id}"
    await until(lambda: remedy in str(health.report()), what="health says what it waits for, and the remedy")
    assert "KeyMissing" in str(health.report()) and "crewmem backup restore" in str(health.report())


async def test_what_a_lost_key_sealed_is_waited_for_until_it_is_given_up(settings: ConsumerSettings) -> None:
    id = str(key_id((await publish(settings))[0]))
    assert "none" in (await crewmem("keys", "lost")).stdout
    lose(settings, id)
    store = open_store(settings)
    async with consuming(settings, store) as health:
        await waits(health, id)
        assert outcomes(store) == []

        shown = await crewmem("keys", "lost", "--json")
        [lost] = json.loads(shown.stdout)
        assert shown.exit_code == 1 and "2 records are waited for" in shown.stderr
        assert (lost["id"], lost["records"], lost["partition"], lost["offset"]) == (id, 2, 0, 0)

        asked = await crewmem("keys", "lost", id)
        assert asked.exit_code == 2 and "sealed 2 records" in asked.stderr and "nothing is given up" in asked.stderr
        assert outcomes(store) == []

        done = await crewmem("keys", "lost", id, "--yes")
        assert done.exit_code == 0 and "2 records end as forgotten" in done.stdout
        await until(lambda: len(outcomes(store)) == 3, what="the consumer goes on")
    assert outcomes(store) == [("forgotten", "erased"), ("forgotten", "erased"), ("stored", None)]
    assert (await crewmem("accounting", "--verify")).exit_code == 0
    assert (await crewmem("keys", "lost")).exit_code == 0
    again = await crewmem("keys", "lost", id, "--yes")
    assert again.exit_code == 4 and "is erased" in again.stderr


async def test_what_a_lost_key_sealed_is_read_once_a_backup_brings_the_key_back(
    settings: ConsumerSettings, tmp_path: Path
) -> None:
    """Onto the log as it is: its records are those of the backup, and it has got longer since."""
    id = str(key_id((await publish(settings))[0]))
    assert (await crewmem("backup", "create", str(tmp_path / "backup"))).exit_code == 0
    await publish(settings)
    lose(settings, id)
    store = open_store(settings)
    async with consuming(settings, store) as health:
        await waits(health, id)
        restored = await crewmem("backup", "restore", str(tmp_path / "backup"))
        assert restored.exit_code == 0, restored.stderr
        await until(lambda: len(outcomes(store)) == 6, what="the consumer goes on")
    assert {outcome for outcome, _ in outcomes(store)} <= {"stored", "duplicate"}


async def test_a_forget_that_a_lost_key_sealed_is_warned_of(settings: ConsumerSettings) -> None:
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    sealer = open_sealer(settings, registry)
    assert sealer is not None
    [sealed] = await sealer.seal([encode(forget(("event", "content"), session="ann"))])
    await log.append([sealed])
    await registry.close()
    await log.close()
    id = str(key_id(sealed))
    lose(settings, id)
    done = await crewmem("keys", "lost", id, "--yes")
    assert done.exit_code == 0 and "1 of its records forget memories" in done.stderr


async def test_what_is_not_lost_is_not_given_up(settings: ConsumerSettings) -> None:
    sealed = await publish(settings)
    for id, says in ((str(key_id(sealed[0])), "opens with the master key"), ("0" * 32, "no record on the log")):
        refused = await crewmem("keys", "lost", id, "--yes")
        assert refused.exit_code == 4 and says in refused.stderr


async def test_a_damaged_record_of_a_key_counts_as_lost(settings: ConsumerSettings) -> None:
    id = str(key_id((await publish(settings))[0]))
    registry = open_registry(settings)
    await registry.start()
    await registry.put(data_keys.PREFIX + id, {"damaged": True})
    await registry.close()
    store = open_store(settings)
    async with consuming(settings, store) as health:
        await until(lambda: f"crewmem keys lost {id}" in str(health.report()), what="health says what it waits for")
        assert (await crewmem("keys", "lost", id, "--yes")).exit_code == 0
        await until(lambda: len(outcomes(store)) == 3, what="the consumer goes on")
