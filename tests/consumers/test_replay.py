"""A replay builds the memory anew from the log and switches every reader to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from crewmem_consumers.errors import ConsumerRunning
from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.opening import only_consumer
from crewmem_consumers.replay import Progress, Replayed, replay
from crewmem_consumers.rules import default_rules
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import Vector
from support.logged import remembered_record, rules_record


class CountingEmbedder(HashingEmbedder):
    """Notes what it was asked for."""

    def __init__(self, *, dimensions: int = 384) -> None:
        super().__init__(dimensions=dimensions)
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vector:
        self.texts += texts
        return super().embed(texts)


@dataclass
class Machine:
    settings: ConsumerSettings
    log: EventLog
    registry: Registry
    store: MemoryStore = field(default_factory=MemoryStore)
    embedder: CountingEmbedder = field(default_factory=CountingEmbedder)
    progress: list[Progress] = field(default_factory=list)

    async def replay(self) -> Replayed:
        return await replay(
            self.settings, progress=self.progress.append, log=self.log, registry=self.registry, store=self.store,
            embedder=self.embedder,
        )  # fmt: skip

    def contents(self, generation: str) -> dict[str, str | None]:
        return {row.event_id: row.text for row in self.store.reader(generation).rows(["default/s"], partitions=[0]).rows}


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    settings = ConsumerSettings(home=tmp_path)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    made = Machine(settings, log, registry)
    made.store.open(namespace=settings.namespace)
    yield made
    await registry.close()
    await log.close()


async def test_the_first_replay_needs_no_generation_before_it(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    done = await machine.replay()
    assert (done.generation, done.replaced, done.records) == ("g1", None, 5)
    assert len(machine.contents("g1")) == 5
    assert generations.active(machine.registry).name == "g1"


async def test_a_replay_gives_the_same_memory_and_becomes_the_active_generation(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(30)])
    await machine.replay()
    done = await machine.replay()
    assert (done.generation, done.replaced) == ("g2", "g1")
    assert machine.contents("g2") == machine.contents("g1")
    assert generations.active(machine.registry).name == "g2"
    assert done.outcomes == {"stored": 30}


async def test_vectors_of_the_same_text_are_taken_from_the_generation_before(machine: Machine) -> None:
    await machine.log.append([remembered_record(number, session=f"s{number % 3}") for number in range(30)])
    first = await machine.replay()
    machine.embedder.texts.clear()
    await machine.log.append([remembered_record(100)])
    second = await machine.replay()
    assert (first.embedded, first.reused) == (30, 0)
    assert (second.embedded, second.reused) == (1, 30)
    assert len(machine.embedder.texts) == 1


async def test_another_embedder_reuses_nothing_and_has_its_own_dimensions(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    await machine.replay()
    machine.embedder = CountingEmbedder(dimensions=32)
    done = await machine.replay()
    assert (done.embedded, done.reused) == (5, 0)
    assert generations.active(machine.registry).dimensions == 32
    assert machine.store.reader("g2").rows(["default/s"], partitions=[0]).matrix.shape == (5, 32)


async def test_progress_tells_records_done_and_ends_at_the_total(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(1200)])
    await machine.replay()
    assert len(machine.progress) >= 3
    assert [one.done for one in machine.progress] == sorted(one.done for one in machine.progress)
    assert machine.progress[-1] == Progress("g1", 1200, 1200)


async def test_the_newest_rules_decide_everything_anew(machine: Machine) -> None:
    rules = default_rules().text
    await machine.log.append([remembered_record(0), rules_record(rules, number=1), remembered_record(1)])
    await machine.log.append([rules_record(rules + "\n# newer\n", number=2)])
    await machine.replay()
    made = generations.active(machine.registry)
    assert made.rules == rules + "\n# newer\n"
    assert made.rules_until == {"0": 4}
    ledger = machine.store.reader("g1").ledger(0, start=0, limit=10)
    stored = [row for row in ledger if row.outcome == "stored"]
    assert len({row.rules_sha256 for row in stored}) == 1, "old and new records are decided by the same rules"


async def test_an_interrupted_replay_goes_on_where_it_was(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.log.append([remembered_record(number) for number in range(1200)])
    real, calls = Ingestor.process, [0]

    def process(self: Ingestor, *args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == 2:
            raise StoreUnavailable("gone in the middle")
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Ingestor, "process", process)
    await generations.ensure_first(machine.registry, embedder=machine.embedder, partitions=1)
    with pytest.raises(StoreUnavailable):
        await machine.replay()
    assert generations.active(machine.registry).name == "g1", "nobody reads half a generation"
    done = await machine.replay()
    assert (done.generation, done.records) == ("g2", 700)
    assert machine.store.reader("g2").outcomes(0) == {"stored": 1200}


async def test_a_log_that_was_wiped_is_built_from_as_it_is_now(machine: Machine, tmp_path: Path) -> None:
    await machine.log.append([remembered_record(number) for number in range(9)])
    await machine.replay()
    (tmp_path / "other").mkdir()
    machine.log = open_log(ConsumerSettings(home=tmp_path / "other"))
    await machine.log.start()
    await machine.log.append([remembered_record(number) for number in range(100, 103)])
    done = await machine.replay()
    assert (done.generation, done.records) == ("g2", 3)
    assert len(machine.contents("g2")) == 3
    await machine.log.close()


async def test_a_running_consumer_is_refused(machine: Machine) -> None:
    with only_consumer(machine.settings), pytest.raises(ConsumerRunning):
        await machine.replay()


async def test_the_oldest_generation_that_nobody_reads_makes_room(machine: Machine) -> None:
    await machine.log.append([remembered_record(0)])
    for _ in range(4):
        await machine.replay()
    assert [generation.name for generation in generations.live(machine.registry)] == ["g2", "g3", "g4"]
    assert generations.active(machine.registry).name == "g4"
    assert machine.contents("g1") == {}


async def test_a_generation_of_other_making_is_not_gone_on_with(machine: Machine) -> None:
    await machine.log.append([remembered_record(0)])
    await machine.replay()
    stray = replace(generations.active(machine.registry), name="g2", embedder_fingerprint="another")
    await generations.save(machine.registry, stray)
    assert (await machine.replay()).generation == "g3"
    await generations.save(machine.registry, replace(generations.active(machine.registry), name="g4", splitter=2))
    assert (await machine.replay()).generation == "g5"


@pytest.mark.kafka
async def test_on_kafka_every_partition_is_built_and_running_consumers_are_told_by_their_group(
    tmp_path: Path, namespace: str, kafka: str
) -> None:
    import asyncio

    from crewmem_consumers.consumer import run
    from crewmem_consumers.health import Health
    from crewmem_producers.topics import ensure_topics
    from support.awaiting import until

    settings = ConsumerSettings(home=tmp_path, namespace=namespace, kafka_bootstrap=kafka, kafka_partitions=3)
    await ensure_topics(settings)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    store = MemoryStore()
    store.open(namespace=namespace)
    parts = {"log": log, "registry": registry, "store": store, "embedder": HashingEmbedder()}
    try:
        await log.append([remembered_record(number, session=f"s{number % 9}") for number in range(60)])
        stop = asyncio.Event()
        consumer = asyncio.create_task(run(settings, stop=stop, health=Health(), **parts))  # type: ignore[arg-type]
        await until(lambda: sum(store.reader("g1").last_offset(p) + 1 for p in range(3)) == 60, what="60 records")
        with pytest.raises(ConsumerRunning):
            await replay(settings, **parts)  # type: ignore[arg-type]
        stop.set()
        await consumer
        done = await replay(settings, **parts)  # type: ignore[arg-type]
        assert (done.generation, done.records, done.embedded) == ("g2", 60, 0)
        assert sum(sum(store.reader("g2").outcomes(p).values()) for p in range(3)) == 60
    finally:
        await registry.close()
        await log.close()
