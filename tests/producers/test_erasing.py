"""Erasing a session's data keys, killed at any step and begun again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crewmem_producers import codec, data_keys, erasing, master_key
from crewmem_producers.errors import KeyErased
from crewmem_producers.events import Event, MemoryRemembered, SessionForgotten
from crewmem_producers.keyring import Keyring
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.names import Scope
from crewmem_producers.sealing import Sealer
from crewmem_producers.started import started
from support.registries import DictRegistry

ANN, BOB = Scope.of("acme", "ann"), Scope.of("acme", "bob")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MASTER = master_key.MasterKeys.parse(master_key.generate())


class Killed(Exception):
    """The process ends at a step."""


def remembered(scope: Scope, *, minutes: int = 0) -> Event:
    return Event(MemoryRemembered(content="text"), scope, time=NOON + timedelta(minutes=minutes), source="test")


def sealer(registry: DictRegistry) -> Sealer:
    keys = data_keys.DataKeyMaker(registry=registry, public=lambda: MASTER.current, maker="test", clock=lambda: NOON)
    return Sealer(keys=keys)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with started(SqliteLog(tmp_path / "log.sqlite3", topic="events")) as log:
        yield log


async def wrapped(registry: DictRegistry, scope: Scope) -> int:
    await registry.refresh()
    return sum("wrapped" in value for value in data_keys.of_scope(registry, scope.key).values())


async def erase(registry: DictRegistry, log: SqliteLog, **options: object) -> erasing.Erasure:
    clock = {"clock": lambda: NOON + timedelta(minutes=5)} | options
    done, _, _ = await erasing.erase(ANN.key, log=log, registry=registry, source="test", **clock)  # type: ignore[arg-type]
    return done


@pytest.mark.parametrize("step", erasing.STEPS)
async def test_an_erasure_that_was_killed_is_finished_by_the_next_one(log: SqliteLog, step: str) -> None:
    registry = DictRegistry()
    await sealer(registry).seal([codec.encode(remembered(ANN)), codec.encode(remembered(BOB))])

    def die(reached: str) -> None:
        if reached == step:
            raise Killed

    with pytest.raises(Killed):
        await erase(registry, log, checkpoint=die)
    first = erasing.erasure_of(registry, ANN.key)
    assert first is not None
    done = await erase(registry, log)
    assert (done.event_id == first.event_id) is (step != erasing.NOTED), "finished, not begun anew; unless it was done"
    assert await wrapped(registry, ANN) == 0 and await wrapped(registry, BOB) == 1
    events = [codec.decode(record) for record in await log.read(0, 0)]
    assert {event.key for event in events} == {ANN.key}
    body = events[-1].body
    assert isinstance(body, SessionForgotten) and body.erased_keys == sorted(data_keys.of_scope(registry, ANN.key))
    assert all(b"ann" not in (record.value or b"") for record in await log.read(0, 0))


@pytest.mark.parametrize("killed", [None, erasing.FORGOTTEN])
async def test_a_key_that_is_made_while_a_session_is_erased_goes_too_and_what_it_sealed_is_forgotten(
    log: SqliteLog, killed: str | None
) -> None:
    """What it sealed may lie behind the first event: so there is another one, behind it."""
    registry = DictRegistry()
    await sealer(registry).seal([codec.encode(remembered(ANN))])
    real = log.append

    async def append(records: object) -> object:
        log.append = real  # type: ignore[method-assign]
        meanwhile = await sealer(registry).seal([codec.encode(remembered(ANN, minutes=6))])
        assert await wrapped(registry, ANN) == 1
        return [(await real(records))[0], *await real(meanwhile)][:1]  # type: ignore[arg-type]

    def die(reached: str) -> None:
        if reached == killed:
            raise Killed

    log.append = append  # type: ignore[assignment, method-assign]
    if killed:
        with pytest.raises(Killed):
            await erase(registry, log, checkpoint=die)
    await erase(registry, log, clock=lambda: NOON + timedelta(minutes=7))
    assert await wrapped(registry, ANN) == 0
    first, meanwhile, last = await log.read(0, 0)
    keyring = Keyring(registry=registry, master=lambda: MASTER)
    with pytest.raises(KeyErased):
        keyring.open(meanwhile)
    assert {codec.decode(one).body.type for one in (first, last)} == {SessionForgotten.type}
    assert codec.decode(first).id != codec.decode(last).id and codec.decode(last).time == NOON + timedelta(minutes=7)


async def test_whoever_reads_an_erasure_knows_the_keys_that_it_erased(log: SqliteLog) -> None:
    registry = DictRegistry()
    [before, behind] = await sealer(registry).seal([codec.encode(remembered(ANN)), codec.encode(remembered(ANN, minutes=6))])
    await log.append([before])
    late = DictRegistry(registry.truth)
    await erase(registry, log)
    await log.append([behind])
    records = await log.read(0, 0)
    keyring = Keyring(registry=late, master=lambda: MASTER)
    await keyring.prepare(records[:1])
    keyring.open(records[0])
    await keyring.prepare(records[1:])
    for record in (records[0], records[2]):
        with pytest.raises(KeyErased):
            keyring.open(record)


async def test_what_comes_late_from_before_the_erasure_can_be_read_by_nobody(log: SqliteLog) -> None:
    registry = DictRegistry()
    await erase(registry, log)
    keyring = Keyring(registry=registry, master=lambda: MASTER)
    late, new = await sealer(registry).seal([codec.encode(remembered(ANN)), codec.encode(remembered(ANN, minutes=6))])
    with pytest.raises(KeyErased):
        keyring.open(late)
    assert codec.decode(keyring.open(new)).body.model_dump()["content"] == "text"
    (other,) = await sealer(registry).seal([codec.encode(remembered(BOB))])
    assert codec.decode(keyring.open(other)).scope == BOB


async def test_a_time_without_an_offset_is_utc_also_for_what_comes_late(log: SqliteLog) -> None:
    registry = DictRegistry()
    await erase(registry, log)
    record = codec.encode(remembered(ANN))
    headers = tuple((name, value.removesuffix(b"Z") if name == "ce_time" else value) for name, value in record.headers)
    [late] = await sealer(registry).seal([replace(record, headers=headers)])
    with pytest.raises(KeyErased):
        Keyring(registry=registry, master=lambda: MASTER).open(late)


async def test_a_session_can_be_erased_again(log: SqliteLog) -> None:
    registry = DictRegistry()
    first = await erase(registry, log)
    second = await erase(registry, log, clock=lambda: NOON + timedelta(hours=1))
    assert first.event_id != second.event_id and second.time > first.time
