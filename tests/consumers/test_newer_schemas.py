"""Dead letters of a newer version come back by themselves once a program knows the version; the process test is
tests/processes/test_redrive_kill.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from crewmem_consumers.later_facts import COPY_OF
from crewmem_consumers.newer_schemas import NewerSchemas
from crewmem_producers import codec
from crewmem_producers.codec import encode
from crewmem_producers.errors import KeyErased, KeyMissing, LogUnavailable
from crewmem_producers.events import Event
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord, Position, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.started import started
from crewmem_store.memory import MemoryStore
from crewmem_store.memory_reader import MemoryReader
from crewmem_store.rows import LedgerRow, Outcome
from support.awaiting import until
from support.keyrings import NoKeys, plain_keyring
from support.logged import remembered

NEWER = 7


@pytest.fixture(autouse=True)
def knows_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program has learnt the version."""
    monkeypatch.setattr(codec, "SCHEMA_VERSION", NEWER)


class Keys(Keyring):
    """Opens nothing of the events that it has a word about."""

    def __init__(self, **words: Exception) -> None:
        super().__init__(registry=NoKeys())  # type: ignore[arg-type]
        self.words = words

    def open(self, record):  # type: ignore[no-untyped-def]
        error = self.words.get(record.header("ce_id"))
        if error is not None:
            raise error
        return record


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with started(SqliteLog(tmp_path / "log.sqlite3", topic="t")) as log:
        yield log


def of_version(number: int, version: int) -> Record:
    event = remembered(number)
    body = event.body.model_copy(update={"schema_version": version})
    return encode(Event(body=body, scope=event.scope, id=f"e{number}", time=event.time, source="test"))


async def rejected(log: SqliteLog, *versions: int) -> MemoryReader:
    """A reader of the ledger of an older program that read events of these versions."""
    await log.append([of_version(number, version) for number, version in enumerate(versions)])
    store = MemoryStore()
    store.open(namespace="crewmem")
    rows = [
        LedgerRow(
            offset=number, ce_id=f"e{number}", type="crewmem.memory.remembered", scope_key=None, crc=0, created_at=None,
            outcome=Outcome.DEAD_LETTER, reason="newer_schema",
        ) for number in range(len(versions))
    ]  # fmt: skip
    store.partition("g1", 0, dimensions=8).commit(rows=[], updates=[], ledger=rows)
    return store.reader("g1")


def looking(log: SqliteLog, reader: MemoryReader, **more: object) -> NewerSchemas:
    parts: dict[str, object] = {"keyring": plain_keyring(), "is_active": lambda: True, "look_seconds": 0.01} | more
    made = NewerSchemas(partition=0, reader=reader, log=log, source="test", **parts)  # type: ignore[arg-type]
    made.start()
    return made


async def copied(log: SqliteLog) -> list[str]:
    found = [record.header(COPY_OF) for record in await log.read(0, 0)]
    return [copy for copy in found if copy is not None]


async def done(made: NewerSchemas) -> None:
    """It ends by itself when it has looked."""
    assert made._task is not None
    async with asyncio.timeout(60):
        await asyncio.wait([made._task])


async def test_what_can_be_read_now_is_redriven_and_what_cannot_stays(log: SqliteLog) -> None:
    reader = await rejected(log, NEWER, NEWER + 1, NEWER)
    await done(looking(log, reader))
    assert await copied(log) == ["0/0", "0/2"]


async def test_a_second_look_finds_the_copies_though_no_ledger_has_them_yet(log: SqliteLog) -> None:
    reader = await rejected(log, NEWER)
    for _ in range(2):
        await done(looking(log, reader))
    assert await copied(log) == ["0/0"]


async def test_a_generation_that_does_not_answer_recalls_waits_until_it_does(log: SqliteLog) -> None:
    reader, active = await rejected(log, NEWER), [False]
    asked = 0

    def is_active() -> bool:
        nonlocal asked
        asked += 1
        return active[0]

    made = looking(log, reader, is_active=is_active)
    await until(lambda: asked > 2, what="it has asked")
    assert await copied(log) == []
    active[0] = True
    await done(made)
    assert await copied(log) == ["0/0"]


async def test_a_key_that_is_missing_holds_up_no_other_letter_and_is_waited_for(log: SqliteLog) -> None:
    reader = await rejected(log, NEWER, NEWER, NEWER)
    keys = Keys(e0=KeyMissing("no such key"), e2=KeyErased("erased"))
    made = looking(log, reader, keyring=keys)
    async with asyncio.timeout(60):
        while len(await copied(log)) < 2:
            await asyncio.sleep(0.02)
    assert await copied(log) == ["0/1", "0/2"], "what was erased ends as forgotten, at its new place"
    keys.words.clear()
    await done(made)
    assert await copied(log) == ["0/1", "0/2", "0/0"]


async def test_a_log_that_is_away_is_waited_for(log: SqliteLog) -> None:
    reader, real = await rejected(log, NEWER), log.append
    tries = 0

    async def away(records: Sequence[Record]) -> list[Position]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise LogUnavailable("no broker")
        return await real(records)

    log.append = away  # type: ignore[method-assign]
    await done(looking(log, reader))
    assert await copied(log) == ["0/0"]


async def test_stopping_waits_for_an_append_in_flight_and_begins_no_other(log: SqliteLog) -> None:
    reader, real, held = await rejected(log, NEWER), log.append, asyncio.Event()
    entered = asyncio.Event()

    async def slow(records: Sequence[Record]) -> list[Position]:
        entered.set()
        await held.wait()
        return await real(records)

    log.append = slow  # type: ignore[method-assign]
    made = looking(log, reader)
    await entered.wait()
    stopping = asyncio.create_task(made.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    held.set()
    await stopping
    assert await copied(log) == ["0/0"]


async def test_a_record_that_the_log_does_not_have_any_more_is_left(log: SqliteLog, tmp_path: Path) -> None:
    reader = await rejected(log, NEWER)
    other = SqliteLog(tmp_path / "other.sqlite3", topic="t")
    await other.start()
    await done(looking(other, reader))
    assert (await other.end())[0] == 0
    await other.close()


async def test_a_fault_of_ours_is_said_and_ends_nothing_else(log: SqliteLog, caplog: pytest.LogCaptureFixture) -> None:
    reader = await rejected(log, NEWER)

    async def broken(partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        raise RuntimeError("a fault")

    log.read = broken  # type: ignore[method-assign]
    await done(looking(log, reader))
    assert "they stay dead letters" in caplog.text
