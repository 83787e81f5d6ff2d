"""`accounting --verify` and `events show` over what was really sealed, rotated, forgotten, erased, and given up."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import pytest
from crewmem.cli.app import app
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.replay import replay
from crewmem_producers import data_keys, erasing, lost_keys, master_key, rotation
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry, open_sealer, sqlite_path
from crewmem_producers.events import Event, MemoryRemembered, utc_now
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.names import Scope
from crewmem_producers.registry import Registry
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.started import started
from crewmem_store.connect import open_store
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.store import Store
from support.awaiting import until
from support.pipeline import forget
from typer.testing import CliRunner, Result

OLD, NEW = master_key.generate(), master_key.generate()
BOTH = MasterKeys.parse(f"{NEW} {OLD}")

ERASED, ROTATED, FORGOTTEN, NEWER, FORGET, LETTER, ERASURE, OFFLINE, ALIVE, LOST = range(10)
"""What lies at which offset."""


def said(session: str, text: str, *, minutes: float = 0, **fields: Any) -> Event:
    body = MemoryRemembered(content=text, **fields)
    return Event(body, Scope.of("default", session), time=utc_now() + timedelta(minutes=minutes), source="test")


class Maker:
    """Puts on the log and into the registry of a home what a fleet would, and consumes it."""

    def __init__(self, home: Path, registry: Registry, store: Store) -> None:
        self.home, self.registry, self.store = home, registry, store

    def settings(self, master: str) -> ConsumerSettings:
        return ConsumerSettings(home=self.home, master_key=master, batch_wait_ms=0)

    async def publish(self, *events: Event, master: str = OLD, flipped: bool = False) -> str:
        """Sealed, each by a maker of its own; the data key of the last. `flipped`: each with a wrong bit."""
        async with started(open_log(self.settings(master))) as log:
            for event in events:
                sealer = open_sealer(self.settings(master), self.registry)
                assert sealer is not None
                [record] = await sealer.seal([encode(event)])
                value = record.value or b""
                await log.append([replace(record, value=value[:-1] + bytes([value[-1] ^ 1])) if flipped else record])
        return str(key_id(record))

    async def consume(self, upto: int, *, generation: str = "g1") -> None:
        stop = asyncio.Event()
        parts: dict[str, Any] = {"registry": self.registry, "store": self.store, "embedder": HashingEmbedder()}
        task = asyncio.create_task(run(self.settings(f"{NEW} {OLD}"), stop=stop, health=Health(), **parts))
        reader = self.store.reader(generation)
        await until(lambda: reader.last_offset(0) >= upto, what=f"{upto} is processed")
        stop.set()
        await asyncio.wait_for(task, 60)


async def make(home: Path) -> None:
    home.mkdir()
    settings = ConsumerSettings(home=home, master_key=NEW)
    async with started(open_registry(settings)) as registry:
        store = open_store(settings)
        maker = Maker(home, registry, store)
        gone = said("bob", "Bob keeps three goats.")
        await maker.publish(said("ann", "Ann lives in Lyon."), said("bob", "Bob paints his boat."), gone)
        await rotation.rotate(registry, BOTH, now=utc_now())
        await rotation.retire(registry, BOTH, now=utc_now())
        named = replace(forget((gone.id, "content"), session="bob"), id="forget", time=utc_now())
        await maker.publish(said("bob", "Bob bought an island."), named, master=NEW)
        await maker.publish(said("ann", "Ann said something."), master=NEW, flipped=True)
        await maker.consume(LETTER)
        async with started(open_log(settings)) as log:
            await erasing.erase(Scope.of("default", "ann").key, log=log, registry=registry, source="test")
        await maker.publish(said("ann", "Ann said so before.", minutes=-60), said("ann", "Ann is back."), master=NEW)
        await maker.consume(ALIVE)
        lost = await maker.publish(said("carl", "Carl collects stamps."), master=NEW)
    with closing(sqlite3.connect(sqlite_path(settings))) as connection, connection:
        connection.execute("DELETE FROM registry WHERE key = ?", (data_keys.PREFIX + lost,))
    async with started(open_registry(settings)) as registry, started(open_log(settings)) as log:
        maker = Maker(home, registry, store)
        await lost_keys.give_up(registry, (await lost_keys.lost_keys(log, registry))[lost], now=utc_now())
        await maker.consume(LOST)
        done = await replay(maker.settings(NEW), registry=registry, store=store, embedder=HashingEmbedder())
        assert done.generation == "g2"
    store.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sealed") / "home"
    asyncio.run(make(home))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy, where only the new master key is held."""
    copy = Path(shutil.copytree(made, tmp_path / "home"))
    monkeypatch.setenv("CREWMEM_HOME", str(copy))
    monkeypatch.setenv("CREWMEM_MASTER_KEY", NEW)
    yield copy


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(offset: int) -> tuple[Any, list[tuple[str | None, str | None]]]:
    """The record's story, and its outcome and reason in each generation."""
    done = crewmem("events", "show", f"0/{offset}", "--json")
    assert done.exit_code == 0, done.output
    [record] = json.loads(done.stdout)
    return record, [(one["outcome"], one["reason"]) for one in record["generations"]]


@pytest.mark.usefixtures("home")
def test_every_position_has_its_outcome_before_and_after_a_replay() -> None:
    done = crewmem("accounting", "--verify", "--json")
    assert done.exit_code == 0, done.output
    accounts = {account["generation"]: account for account in json.loads(done.stdout)}
    assert set(accounts) == {"g1", "g2"}
    for account in accounts.values():
        [partition] = account["partitions"]
        assert account["verified"]["closes"] and partition["lag"] == 0 and partition["processed"] == LOST + 1


@pytest.mark.usefixtures("home")
def test_an_erased_event_says_so_and_shows_nothing() -> None:
    record, outcomes = told(ERASED)
    assert outcomes == [("stored", None), ("forgotten", "erased")], "stored at the time; in the replay nobody can read it"
    assert "Lyon" not in json.dumps(record) and "its session was erased" in record["body"]
    [memory] = [span["memory"] for span in record["generations"][0]["spans"]]
    assert (memory["state"], memory["forgotten_by"]["offset"]) == ("forgotten", ERASURE)
    text = crewmem("events", "show", f"0/{ERASED}")
    assert "its session was erased" in text.stdout


@pytest.mark.usefixtures("home")
def test_what_was_sealed_for_the_old_master_key_opens_with_the_new_one_alone() -> None:
    for offset, text in ((ROTATED, "Bob paints his boat."), (NEWER, "Bob bought an island."), (ALIVE, "Ann is back.")):
        record, outcomes = told(offset)
        assert record["body"]["content"] == text and outcomes == [("stored", None)] * 2


@pytest.mark.usefixtures("home")
def test_a_memory_that_a_sealed_forget_took_names_it_in_both_generations() -> None:
    record, _ = told(FORGOTTEN)
    memories = [generation["spans"][0]["memory"] for generation in record["generations"]]
    assert [(one["state"], one["forgotten_by"]["offset"]) for one in memories] == [("forgotten", FORGET)] * 2


@pytest.mark.usefixtures("home")
def test_a_letter_an_offline_publishers_event_and_what_was_given_up_end_as_nobody_can_read_them() -> None:
    assert told(LETTER)[1] == [("dead_letter", "bad_seal"), ("forgotten", "erased")]
    for offset in (OFFLINE, LOST):
        record, outcomes = told(offset)
        assert outcomes == [("forgotten", "erased")] * 2
        assert isinstance(record["body"], str)


def test_a_forgotten_text_that_is_back_in_a_table_is_named(home: Path) -> None:
    table = lancedb.connect(home / "store").open_table("mem_g1_p00")
    changed = table.update(where=f"offset = {FORGOTTEN}", values={"text": "Bob keeps three goats.", "content": "goats"})
    assert changed.rows_updated == 1
    done = crewmem("accounting", "--verify", "--json")
    assert done.exit_code == 1 and "does not close" in done.stderr
    [g1, g2] = json.loads(done.stdout)
    assert [one["offset"] for one in g1["verified"]["misfits"]] == [FORGOTTEN] and g2["verified"]["closes"]


def test_without_the_master_key_nothing_is_guessed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREWMEM_MASTER_KEY")
    record, outcomes = told(ROTATED)
    assert outcomes == [("stored", None)] * 2 and "CREWMEM_MASTER_KEY" in record["body"]
    walked = crewmem("accounting", "--verify")
    assert walked.exit_code == 3 and "CREWMEM_MASTER_KEY" in walked.stderr
    assert crewmem("accounting").exit_code == 0, "the numbers need no key"
