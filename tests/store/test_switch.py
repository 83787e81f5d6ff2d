"""Activate and drop: each a record of the registry, looked at before and after it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.log import EventLog, Record
from crewmem_producers.registry import Registry
from crewmem_producers.settings import KafkaSettings
from crewmem_store import generations, switch
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import GenerationBehind, GenerationInUse, PartitionsChanged, UnknownGeneration
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import LedgerRow, Outcome

RECORDS = 5


@dataclass
class Place:
    log: EventLog
    registry: Registry
    store: MemoryStore

    def process(self, generation: str, count: int) -> None:
        """The generation's ledger has the log's first `count` records."""
        rows = [
            LedgerRow(
                offset=offset, ce_id=str(offset), type=None, scope_key=None, crc=0, created_at=None, outcome=Outcome.DEAD_LETTER
            )
            for offset in range(count)
        ]
        self.store.partition(generation, 0, dimensions=8).commit(rows=[], updates=[], ledger=rows)

    async def activate(
        self, name: str, *, wait_seconds: float = 0, at: Callable[[str], None] = lambda step: None
    ) -> str | None:
        return await switch.activate(
            name, log=self.log, registry=self.registry, store=self.store, wait_seconds=wait_seconds, checkpoint=at
        )

    async def drop(self, name: str, *, at: Callable[[str], None] = lambda step: None) -> None:
        await switch.drop(name, registry=self.registry, store=self.store, grace_seconds=0, checkpoint=at)

    @property
    def active(self) -> str:
        return generations.active(self.registry).name


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """`g1` answers and has everything; `g2` is live and has nothing."""
    settings = KafkaSettings(home=tmp_path)
    made = Place(open_log(settings), open_registry(settings), MemoryStore())
    await made.log.start()
    await made.registry.start()
    await made.log.append([Record(None, None) for _ in range(RECORDS)])
    first = await generations.ensure_first(made.registry, embedder=HashingEmbedder(dimensions=8), partitions=1)
    await generations.save(made.registry, replace(first, name="g2"))
    made.process("g1", RECORDS)
    yield made
    await made.registry.close()
    await made.log.close()


@pytest.fixture
async def elsewhere(place: Place, tmp_path: Path) -> AsyncIterator[Registry]:
    """Another process's view of the registry."""
    registry = open_registry(KafkaSettings(home=tmp_path))
    await registry.start()
    yield registry
    await registry.close()


class Meanwhile:
    """Once it is armed, something happens elsewhere before the registry is looked at, `looks` looks later."""

    def __init__(self, registry: Registry, happens: Callable[[], Awaitable[None]], *, looks: int = 1) -> None:
        self._happens = happens
        self._left: int | None = None
        self._looks = looks
        self._refresh = registry.refresh
        registry.refresh = self.refresh  # type: ignore[method-assign]

    def arm(self) -> None:
        self._left = self._looks

    async def refresh(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                await self._happens()
        await self._refresh()


async def test_a_generation_that_is_behind_is_refused_with_where_and_by_how_much(place: Place) -> None:
    place.process("g2", 3)
    with pytest.raises(GenerationBehind, match=r"g2 is behind g1 \(partition 0 at 3 of 5\)"):
        await place.activate("g2")
    assert place.active == "g1"


async def test_one_that_has_reached_the_old_one_answers_and_the_way_back_is_open(place: Place) -> None:
    place.process("g2", RECORDS)
    assert await place.activate("g2") == "g1"
    assert place.active == "g2"
    assert await place.activate("g2") is None, "nothing is replaced"
    assert await place.activate("g1") == "g2"
    assert place.active == "g1"


async def test_it_waits_for_one_that_is_only_a_batch_behind(place: Place) -> None:
    activating = asyncio.create_task(place.activate("g2", wait_seconds=60))
    await asyncio.sleep(0.05)
    assert place.active == "g1"
    place.process("g2", RECORDS)
    assert await activating == "g1"


async def test_what_the_log_no_longer_holds_is_not_waited_for(place: Place) -> None:
    place.process("g1", 50)
    place.process("g2", RECORDS)
    assert await place.activate("g2") == "g1"


async def test_what_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(UnknownGeneration):
        await place.activate("g9")
    with pytest.raises(UnknownGeneration):
        await place.drop("g9")
    await generations.save(place.registry, replace(generations.of(place.registry, "g2"), partitions=12))
    with pytest.raises(PartitionsChanged):
        await place.activate("g2")


async def test_a_dropped_generation_has_no_tables_and_cannot_answer(place: Place) -> None:
    place.process("g2", RECORDS)
    await place.drop("g2")
    assert place.store.reader("g2").last_offset(0) == -1
    assert [one.name for one in generations.live(place.registry)] == ["g1"]
    with pytest.raises(UnknownGeneration, match="was dropped"):
        await place.activate("g2")
    assert generations.next_name(place.registry) == "g3", "a name is never used again"


async def test_the_one_that_answers_is_not_dropped(place: Place) -> None:
    with pytest.raises(GenerationInUse, match="crewmem generations activate"):
        await place.drop("g1")
    assert place.store.reader("g1").last_offset(0) == RECORDS - 1


async def test_a_drop_that_was_interrupted_can_be_repeated(place: Place) -> None:
    def die(step: str) -> None:
        if step == switch.MARKED:
            raise InterruptedError

    place.process("g2", RECORDS)
    with pytest.raises(InterruptedError):
        await place.drop("g2", at=die)
    assert place.store.reader("g2").last_offset(0) == RECORDS - 1
    await place.drop("g2")
    assert place.store.reader("g2").last_offset(0) == -1


async def test_an_activation_that_meets_a_drop_gives_way(place: Place, elsewhere: Registry) -> None:
    async def drop() -> None:
        await generations.save(elsewhere, replace(generations.of(elsewhere, "g2"), dropped=True))

    place.process("g2", RECORDS)
    meanwhile = Meanwhile(place.registry, drop)
    with pytest.raises(UnknownGeneration, match="at the same moment; g1 answers"):
        await place.activate("g2", at=lambda step: meanwhile.arm() if step == switch.ACTIVATED else None)
    assert place.active == "g1"


async def test_a_drop_that_meets_an_activation_gives_way(place: Place, elsewhere: Registry) -> None:
    async def activate() -> None:
        await elsewhere.put(generations.ACTIVE, {"generation": "g2"})

    place.process("g2", RECORDS)
    Meanwhile(place.registry, activate, looks=2).arm()
    with pytest.raises(GenerationInUse):
        await place.drop("g2")
    assert place.active == "g2"
    assert place.store.reader("g2").last_offset(0) == RECORDS - 1
