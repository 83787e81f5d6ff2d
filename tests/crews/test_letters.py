"""What state `crewmem dlq` gives a letter: from the ledger, from the log beyond it, and from what a newer generation made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from crewmem.cli.errors import UnknownLetter
from crewmem.cli.letter_text import described
from crewmem.cli.letters import Desk, check, condition_of, select
from crewmem_consumers.item import Rejection
from crewmem_consumers.letters import CUT, letter
from crewmem_consumers.redrive import Ref, discard, redrive
from crewmem_producers import master_key
from crewmem_producers.codec import decode
from crewmem_producers.data_keys import DataKeyMaker
from crewmem_producers.errors import LogUnavailable, SettingsError
from crewmem_producers.events import utc_now
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord, Position, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.sealing import Sealer
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import LedgerRow, Outcome
from support.keyrings import plain_keyring
from support.logged import remembered_record
from support.registries import DictRegistry


@dataclass
class Machine:
    """A log with six records, all of them dead letters; what the ledger of a generation says of them is the test's."""

    log: SqliteLog
    dead_letter_log: SqliteLog
    store: MemoryStore

    def ledger(self, generation: str, *outcomes: Outcome) -> None:
        rows = [
            LedgerRow(offset=offset, ce_id=f"e{offset}", type=None, scope_key=None, crc=0, created_at=None, outcome=outcome)
            for offset, outcome in enumerate(outcomes)
        ]
        self.store.partition(generation, 0, dimensions=8).commit(rows=[], updates=[], ledger=rows)

    def desk(self, generation: str | None) -> Desk:
        reader = None if generation is None else self.store.reader(generation)
        return Desk(log=self.log, dead_letter_log=self.dead_letter_log, reader=reader, keyring=plain_keyring())

    async def states(self, generation: str | None) -> list[str]:
        return [found.state.value for found in await self.desk(generation).letters()]

    async def fetch(self, ref: Ref) -> LoggedRecord:
        [record] = await self.log.read(0, ref.position.offset, limit=1)
        return record


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(
        SqliteLog(tmp_path / "log", topic="events"), SqliteLog(tmp_path / "log", topic="letters"), MemoryStore()
    )  # fmt: skip
    machine.store.open(namespace="crewmem")
    for log in (machine.log, machine.dead_letter_log):
        await log.start()
    await machine.log.append([remembered_record(number) for number in range(6)])
    sent = [letter(record, Rejection("newer_schema", "no")) for record in await machine.log.read(0, 0)]
    await machine.dead_letter_log.append([*reversed(sent), *sent])
    yield machine
    for log in (machine.log, machine.dead_letter_log):
        await log.close()


DEAD = Outcome.DEAD_LETTER


async def test_before_any_generation_every_letter_is_open_and_they_come_by_position(machine: Machine) -> None:
    assert await machine.states(None) == ["open"] * 6
    assert [found.position.offset for found in await machine.desk(None).letters()] == list(range(6))


async def test_what_the_log_says_counts_before_a_consumer_has_read_it(machine: Machine) -> None:
    machine.ledger("g1", *[DEAD] * 6)
    await redrive([Ref(Position(0, 1), "e1")], log=machine.log, fetch=machine.fetch, source="test")
    await discard([Ref(Position(0, 3), "e3")], log=machine.log, source="test")
    assert await machine.states("g1") == ["open", "redriven", "open", "discarded", "open", "open"]
    assert await machine.states(None) == ["open", "redriven", "open", "discarded", "open", "open"]


async def test_what_a_newer_generation_has_read_after_all_is_processed_there(machine: Machine) -> None:
    machine.ledger("g1", *[DEAD] * 6)
    machine.ledger("g2", Outcome.STORED, DEAD, Outcome.FORGOTTEN, Outcome.DUPLICATE)
    assert await machine.states("g2") == ["processed", "open", "processed", "processed", "open", "open"]
    assert await machine.states("g1") == ["open"] * 6


async def test_letters_are_chosen_by_event_position_and_condition(machine: Machine) -> None:
    found = await machine.desk(None).letters()
    now = utc_now()

    def chosen(*ids: str, where: str | None = None) -> list[int]:
        return [one.position.offset for one in select(found, ids=ids, where=condition_of(where), now=now)]

    assert chosen() == [0, 1, 2, 3, 4, 5]
    assert chosen("0/3", "0:1", "0190-default-s-000005") == [1, 3, 5]
    assert chosen("0/3", "0/4", where="offset > 3") == [4]
    assert chosen(where='state == "redriven"') == []
    with pytest.raises(UnknownLetter, match="1/3"):
        chosen("0/3", "1/3")
    with pytest.raises(SettingsError, match="cannot be evaluated"):
        chosen(where="10 / (offset - 3) > 0")


async def test_a_letter_that_is_gone_from_its_log_and_one_of_another_log_are_said(machine: Machine, tmp_path: Path) -> None:
    [found, *_] = await machine.desk(None).letters()
    check([found], partitions=1)
    with pytest.raises(SettingsError, match="of another log"):
        check([found], partitions=0)
    empty = SqliteLog(tmp_path / "other", topic="letters")
    await empty.start()
    desk = Desk(log=machine.log, dead_letter_log=empty, reader=None, keyring=plain_keyring())
    with pytest.raises(LogUnavailable, match="not on its log any more"):
        await desk.sent(found)
    await empty.close()


async def test_the_bytes_of_a_letter_are_those_of_its_record(machine: Machine) -> None:
    [found, *_] = await machine.desk(None).letters()
    sent = await machine.desk(None).sent(found)
    assert Record(sent.key, sent.value).value == remembered_record(0).value


async def test_of_a_letter_without_its_body_the_record_on_the_events_log_is_taken(machine: Machine) -> None:
    [record] = await machine.log.read(0, 2, limit=1)
    whole = letter(record, Rejection("not_json", "no"))
    await machine.dead_letter_log.append([Record(whole.key, None, (*whole.headers, (CUT, b"120")), partition=0)])
    place = Position(0, (await machine.dead_letter_log.end())[0] - 1)
    desk = machine.desk(None)
    [found, *_] = [one for one in await desk.letters() if one.position.offset == 2]
    assert (await desk.sent(replace(found, place=place))).value == record.value


async def test_a_sealed_letter_is_read_and_redriven_as_it_is_and_after_an_erase_nobody_reads_it(machine: Machine) -> None:
    registry, masters = DictRegistry(), MasterKeys.parse(master_key.generate())
    sealer = Sealer(keys=DataKeyMaker(registry=registry, public=lambda: masters.current, maker="m"))
    desk = replace(machine.desk(None), keyring=Keyring(registry=registry, master=lambda: masters))
    [sealed] = await sealer.seal([remembered_record(7, session="of a customer")])
    [position] = await machine.log.append([sealed])
    [logged] = await machine.log.read(0, position.offset, limit=1)
    await machine.dead_letter_log.append([letter(logged, Rejection("newer_schema", "no"))])

    found = (await desk.letters())[-1]
    assert (found.position, found.session, found.sealed) == (position, "of a customer", None)
    assert "subject7b" in described(await desk.sent(found), keyring=desk.keyring)["body"]

    await redrive([found.ref], log=machine.log, fetch=machine.fetch, source="test")
    [copied] = await machine.log.read(0, position.offset + 1, limit=1)
    assert copied.value == sealed.value and decode(desk.keyring.open(copied)).id == found.event_id

    for id in registry.items("datakey/"):
        await registry.put(id, {"erased": "2026-11-23T00:00:00Z", "scope_key": (sealed.key or b"").decode()})
    found = (await desk.letters())[-1]
    assert (found.tenant, found.session, found.sealed) == ("default", None, "erased")
    assert "nobody can read it any more" in described(await desk.sent(found), keyring=desk.keyring)["body"]
