"""A rotation of the master key and an erase at once, in every order, each killed anywhere, over a topic that is compacted at
any time: what an erase destroyed is never there again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from crewmem_producers import data_keys, erasing, keyring, master_key, registry_kafka, rotation
from crewmem_producers.errors import KeyErased
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord, Position, Record
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.sealed_body import key_id
from crewmem_producers.sealing import Sealer
from crewmem_producers.settings import KafkaSettings
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from support.logged import remembered_record

OLD, NEW = master_key.generate(), master_key.generate()
BOTH = MasterKeys.parse(f"{NEW} {OLD}")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MOST_TURNS = 200


@dataclass
class Topic:
    """What the brokers hold."""

    records: list[LoggedRecord] = field(default_factory=list)
    end: int = 0

    def add(self, record: Record) -> Position:
        self.records.append(LoggedRecord(0, self.end, record.key, record.value, record.headers, 0))
        self.end += 1
        return Position(0, self.end - 1)

    def compact(self) -> None:
        """Leaves the newest record of each key, as a broker may at any time."""
        newest = {record.key: record.offset for record in self.records}
        self.records = [record for record in self.records if newest[record.key] == record.offset]

    def holds(self, text: str) -> bool:
        return any(text.encode() in (record.value or b"") for record in self.records)

    def wrapped(self, id: str) -> bool:
        name = f"{data_keys.PREFIX}{id}".encode()
        return any(record.key == name and b'"wrapped"' in (record.value or b"") for record in self.records)


class TopicLog:
    """As KafkaLog over one partition; each call waits for its turn."""

    partitions = 1

    def __init__(self, topic: Topic, turn: Any) -> None:
        self._topic, self._turn = topic, turn

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def append(self, records: Sequence[Record]) -> list[Position]:
        await self._turn()
        return [self._topic.add(record) for record in records]

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        await self._turn()
        return [record for record in self._topic.records if record.offset >= offset][:limit]

    async def end(self) -> dict[int, int]:
        return {0: self._topic.end}

    async def first(self) -> dict[int, int]:
        return {0: 0}


class Stage:
    """Two processes that take turns as `choices` say: 0 and 1 let one go on, 2 and 3 kill one, 4 compacts the topic."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = list(choices)
        self._gates: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]
        self.registry_topic, self.log_topic = Topic(), Topic()

    def registry(self, process: int | None) -> KafkaRegistry:
        made = KafkaRegistry(KafkaSettings(), follow_seconds=3600.0)
        made._log = self._log(self.registry_topic, process)  # type: ignore[assignment]
        return made

    def log(self, process: int | None) -> TopicLog:
        return self._log(self.log_topic, process)

    def _log(self, topic: Topic, process: int | None) -> TopicLog:
        async def wait() -> None:
            if process is not None:
                gate = self._gates[process]
                gate.clear()
                await gate.wait()

        return TopicLog(topic, wait)

    async def play(self, *processes: asyncio.Task[Any]) -> None:
        """Until both ended; when the choices have run out, they go on in turn."""
        for turn in range(MOST_TURNS):
            for _ in range(10):
                await asyncio.sleep(0)
            if all(process.done() for process in processes):
                return
            choice = self._choices.pop(0) if self._choices else turn % 2
            if choice < 2:
                self._gates[choice].set()
            elif choice < 4:
                processes[choice - 2].cancel()
            else:
                self.registry_topic.compact()
        raise AssertionError("they do not end")


async def brought_back(choices: Sequence[int]) -> str | None:
    """What is wrong in the end, if anything: after both ran and were killed as the choices say, the erase was finished by
    another run, and the topic was compacted."""
    stage = Stage(choices)
    first = stage.registry(None)
    await first.start()
    old = MasterKeys.parse(OLD).current
    sealer = Sealer(keys=data_keys.DataKeyMaker(registry=first, public=lambda: old, maker="m", clock=lambda: NOON))
    [record] = await sealer.seal([remembered_record(1)])
    id, scope_key = str(key_id(record)), (record.key or b"").decode()

    async def rotates() -> None:
        registry = stage.registry(0)
        await registry.start()
        try:
            await rotation.rotate(registry, BOTH, now=NOON)
        finally:
            await registry.close()

    async def erases(process: int | None = 1) -> None:
        registry = stage.registry(process)
        await registry.start()
        try:
            await erasing.erase(scope_key, log=stage.log(process), registry=registry, source="t", clock=lambda: NOON)
        finally:
            await registry.close()

    processes = [asyncio.create_task(rotates()), asyncio.create_task(erases())]
    await stage.play(*processes)
    killed = processes[1].cancelled()
    for process in processes:
        with suppress(asyncio.CancelledError):
            await process
    if killed:
        await erases(None)
    await first.close()
    stage.registry_topic.compact()

    reader = stage.registry(None)
    await reader.start()
    try:
        try:
            Keyring(registry=reader, master=lambda: BOTH).open(record)
        except KeyErased:
            pass
        else:
            return "the event can be read again"
        await erasing.enforce(reader)
        stage.registry_topic.compact()
        return "the wrapped key is in the topic for ever" if stage.registry_topic.wrapped(id) else None
    finally:
        await reader.close()


choices = st.lists(st.sampled_from([0, 0, 0, 0, 1, 1, 1, 1, 2, 3, 4]), max_size=40)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(choices)
def test_what_is_erased_stays_so_beside_a_rotation_whoever_is_killed_and_whenever_the_topic_is_compacted(
    turns: list[int],
) -> None:
    assert asyncio.run(brought_back(turns)) is None


def test_control_without_what_an_erasure_names_the_key_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rotation has unwrapped the key when it is erased, writes it over the erased one, and is killed before it looks."""

    async def nothing(*arguments: object) -> int:
        return 0

    monkeypatch.setattr(keyring, "has_erased", lambda *arguments: False)
    monkeypatch.setattr(erasing, "enforce", nothing)
    monkeypatch.setattr(registry_kafka.KafkaRegistry, "_put_right", nothing)
    found = find(
        choices, lambda turns: asyncio.run(brought_back(turns)) is not None,
        settings=settings(max_examples=3000, deadline=None, derandomize=True, database=None, phases=[Phase.generate]),
    )  # fmt: skip
    assert found, "a schedule that brings the key back"


def test_whoever_sees_an_erasure_written_over_puts_it_right() -> None:
    async def run() -> None:
        stage = Stage([])
        writer, other = stage.registry(None), stage.registry(None)
        await writer.start()
        await other.start()
        await writer.put("datakey/1", {"erased": "now"})
        stage.registry_topic.add(Record(b"datakey/1", json.dumps({"wrapped": "w"}).encode(), partition=0))
        await other.refresh()
        stage.registry_topic.compact()
        assert not stage.registry_topic.holds("wrapped")
        end = stage.registry_topic.end
        await writer.refresh()
        assert stage.registry_topic.end == end, "once is enough"
        await writer.close()
        await other.close()

    asyncio.run(run())
