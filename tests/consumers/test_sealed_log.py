"""A consumer over a log that is sealed: what opens is remembered, what does not yet is waited for, what never will is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from crewmem_consumers.replay import replay
from crewmem_producers import data_keys, master_key
from crewmem_producers.connect import open_dead_letter_log, open_registry, open_sealer
from crewmem_producers.log import Record
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import MASTER_KEY_NAME
from crewmem_store.rows import Outcome
from support.awaiting import until
from support.logged import content_of, remembered_record
from support.machine import Machine, machine_in


class SealedMachine(Machine):
    """Its master key is in the home folder."""

    @property
    def key_file(self) -> Path:
        return self.settings.home / MASTER_KEY_NAME

    async def sealed(self, *records: Record) -> list[Record]:
        sealer = open_sealer(self.settings, self.registry)
        assert sealer is not None
        return await sealer.seal(records)

    async def append(self, *records: Record, sealed: bool = True) -> None:
        await self.log.append(await self.sealed(*records) if sealed else records)

    async def consume(self, offset: int) -> None:
        async with self.consuming():
            await self.processed(offset)

    def contents(self, session: str = "s", generation: str = "g1") -> list[str | None]:
        return [row.content for row in self.store.reader(generation).rows([f"default/{session}"], partitions=[0]).rows]

    def outcomes(self) -> list[tuple[Outcome, str | None]]:
        return [(row.outcome, row.reason) for row in self.store.reader("g1").ledger(0, start=0, limit=100)]

    async def erase(self, record: Record) -> None:
        value = {"erased": "2026-01-02T12:00:00.000000Z", "scope_key": (record.key or b"").decode()}
        await self.registry.put(f"{data_keys.PREFIX}{key_id(record)}", value)

    async def letters(self) -> Sequence[Record]:
        log = open_dead_letter_log(self.settings)
        await log.start()
        try:
            return [Record(one.key, one.value, one.headers) for one in await log.read(0, 0)]
        finally:
            await log.close()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[SealedMachine]:
    (tmp_path / MASTER_KEY_NAME).write_text(master_key.generate())
    async with machine_in(tmp_path, SealedMachine, batch_wait_ms=0) as made:
        yield made


async def test_a_sealed_log_and_one_that_was_plain_before_are_remembered_alike(machine: SealedMachine) -> None:
    await machine.append(remembered_record(0), sealed=False)
    await machine.append(remembered_record(1), remembered_record(2))
    await machine.append(remembered_record(3), sealed=False)
    await machine.consume(3)
    assert machine.contents() == [content_of(number) for number in range(4)]
    raw = b"".join(record.value or b"" for record in await machine.log.read(0, 1, limit=2))
    assert b"(\xb5/\xfd" not in raw, "no zstd frame: nobody unpacks it without the key"


async def test_data_keys_of_another_process_are_found_without_a_word_of_waiting(
    machine: SealedMachine, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = open_registry(machine.settings)
    await elsewhere.start()
    async with machine.consuming():
        for number in range(20):
            sealer = open_sealer(machine.settings, elsewhere)
            assert sealer is not None
            await machine.log.append(await sealer.seal([remembered_record(number, session=f"s{number}")]))
        await machine.processed(19)
    await elsewhere.close()
    assert "waits" not in caplog.text


async def test_a_replay_of_a_sealed_log_is_what_was_there_before(machine: SealedMachine) -> None:
    await machine.append(*(remembered_record(number) for number in range(5)))
    await machine.consume(4)
    done = await replay(
        machine.settings, log=machine.log, registry=machine.registry, store=machine.store, embedder=machine.embedder
    )
    assert machine.contents(generation=done.generation) == machine.contents()


async def test_what_was_changed_on_the_way_is_a_dead_letter_with_its_bytes_and_holds_up_nothing(machine: SealedMachine) -> None:
    one, two = await machine.sealed(remembered_record(0), remembered_record(1, session="other"))
    value = one.value or b""
    flipped = replace(one, value=value[:20] + bytes([value[20] ^ 1]) + value[21:])
    swapped = replace(one, headers=(*one.headers[:-1], two.headers[-1]))
    unknown = replace(one, headers=(*one.headers[:-1], ("crewmem-key", b"0" * 32)))
    await machine.append(flipped, swapped, unknown, replace(one, value=b""), one, sealed=False)
    await machine.consume(4)
    assert machine.outcomes()[:4] == [(Outcome.DEAD_LETTER, "bad_seal")] * 4
    assert machine.outcomes()[4] == (Outcome.STORED, None)
    assert [letter.value for letter in await machine.letters()] == [flipped.value, swapped.value, unknown.value, b""]


async def test_an_event_whose_key_was_erased_is_forgotten_and_leaves_no_row(machine: SealedMachine) -> None:
    one, two = await machine.sealed(remembered_record(0), remembered_record(1, session="other"))
    await machine.erase(one)
    await machine.append(one, two, sealed=False)
    await machine.consume(1)
    assert machine.outcomes() == [(Outcome.FORGOTTEN, "erased"), (Outcome.STORED, None)]
    assert machine.contents() == [] and machine.contents("other") == [content_of(1)]
    [row] = machine.store.reader("g1").ledger(0, start=0, limit=1)
    assert row.scope_key == (one.key or b"").decode() and row.ce_id == dict(one.headers)["ce_id"].decode()
    assert await machine.letters() == []


async def test_without_the_master_key_the_worker_waits_says_so_and_goes_on_when_it_is_back(machine: SealedMachine) -> None:
    await machine.append(remembered_record(0))
    right = machine.key_file.read_text()
    machine.key_file.write_text(master_key.generate())
    async with machine.consuming():
        status = ("g1", 0)
        await until(
            lambda: status in machine.health.partitions and "KeyMissing" in str(machine.health.report()),
            what="health says what it waits for",
        )
        assert machine.outcomes() == []
        machine.key_file.write_text(right)
        await machine.processed(0)
    assert machine.outcomes() == [(Outcome.STORED, None)] and await machine.letters() == []


async def test_a_data_key_that_the_registry_does_not_have_is_waited_for(machine: SealedMachine) -> None:
    [one] = await machine.sealed(remembered_record(0))
    name = f"{data_keys.PREFIX}{key_id(one)}"
    value = machine.registry.get(name)
    assert value is not None
    await machine.registry.put(name, {"lost": True})
    await machine.append(one, sealed=False)
    async with machine.consuming():
        await until(lambda: "KeyMissing" in str(machine.health.report()), what="health says what it waits for")
        assert machine.outcomes() == []
        await machine.registry.put(name, value)
        await machine.processed(0)
    assert machine.contents() == [content_of(0)]
