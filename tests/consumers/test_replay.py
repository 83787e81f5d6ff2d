"""A replay builds the memory anew from the log and switches every reader to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.errors import TooManyGenerations
from crewmem_consumers.ingestor import Ingestor, Processed
from crewmem_consumers.replay import TAKE_OVER, Progress
from crewmem_consumers.rules import default_rules
from crewmem_consumers.writing_rights import WritingRights
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.errors import LogUnavailable, StoreUnavailable
from crewmem_producers.events import Event, MemoryForgotten, SpanRef
from crewmem_producers.log import LoggedRecord
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations, switch
from crewmem_store.service.server import served
from support.awaiting import until
from support.llm_endpoint import Endpoint
from support.logged import content_of, remembered, remembered_record, rules_record
from support.pipeline import kickoff
from support.replaying import CountingEmbedder, Machine, machine_in


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine_in(tmp_path) as made:
        yield made


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
    assert machine.embedder is not None
    machine.embedder.texts.clear()
    await machine.log.append([remembered_record(100)])
    second = await machine.replay()
    assert (first.embedded, first.reused) == (30, 0)
    assert (second.embedded, second.reused) == (1, 30)
    assert len(machine.embedder.texts) == 1


async def test_after_a_change_of_rules_no_llm_is_asked_and_only_what_is_new_is_embedded(machine: Machine) -> None:
    endpoint, embedder = Endpoint(), machine.embedder
    long = [f"Finding {number}: " + " ".join([content_of(number)] * 12) for number in range(4)]
    dropping = "version: 1\nrules:\n  - {name: no3, when: 'text.contains(\"Finding 3\")', action: drop, why: a test}\n"
    await machine.log.append([rules_record(dropping), *(encode(kickoff(text, number=n)) for n, text in enumerate(long))])

    def summaries(generation: str) -> list[str]:
        rows = machine.store.reader(generation).rows(["default/project_q1"], partitions=[0]).rows
        return [row.summary for row in rows if row.summary is not None]

    assert embedder is not None
    async with served(endpoint.app(), host="127.0.0.1", port=0) as port:
        machine.settings = machine.settings.model_copy(
            update={"llm_base_url": f"http://127.0.0.1:{port}/v1", "llm_model": "small"}
        )  # fmt: skip
        async with machine.consuming():
            await until(lambda: len(summaries("g1")) == 3, what="three are kept, each with a summary")
            assert (len(endpoint.asked), len(embedder.texts)) == (3, 3)
            await machine.log.append([rules_record(default_rules().text, number=1)])
            await machine.replay()
            await until(lambda: len(summaries("g2")) == 4, what="the fourth is kept now")
    assert len(endpoint.asked) == 4, "the summary of what is new"
    assert [text for text in embedder.texts[3:] if "Finding 3" not in text] == [], "and its vector"


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
    assert {one.total for one in machine.progress} == {1200}
    assert [one.done for one in machine.progress] == sorted(one.done for one in machine.progress)
    assert machine.progress[-1] == Progress("g1", 1200, 1200, here=True)


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


async def test_the_newest_rules_are_found_without_reading_again_what_was_processed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, newer = default_rules().text, default_rules().text + "\n# newer\n"
    await machine.log.append([rules_record(rules), *(remembered_record(number) for number in range(5))])
    await machine.replay()
    real, starts = machine.log.read, []

    async def read(partition: int, offset: int, **how: Any) -> Any:
        starts.append(offset)
        return await real(partition, offset, **how)

    monkeypatch.setattr(machine.log, "read", read)
    assert (await machine.replay(activate=False)).generation == "g2"
    assert starts[0] == 5, "the record before the position alone, to see that it is the same log"
    assert generations.named(machine.registry, "g2").rules == rules
    await machine.log.append([rules_record(newer, number=1)])
    assert (await machine.replay()).generation == "g3"
    assert generations.active(machine.registry).rules == newer


async def test_a_replay_that_is_stopped_goes_on_where_it_was(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    real, held = Ingestor.process, [True]

    def process(self: Ingestor, records: Sequence[LoggedRecord], *, stopping: Callable[[], bool]) -> Processed | None:
        while held[0] and self.position() and not stopping():
            time.sleep(0.01)  # after its first batch it gets no further before it is stopped
        return real(self, records, stopping=stopping)

    monkeypatch.setattr(Ingestor, "process", process)
    await machine.log.append([remembered_record(number) for number in range(1200)])
    await generations.ensure_first(machine.registry, embedder=CountingEmbedder(), partitions=1)
    replaying = asyncio.create_task(machine.replay())
    await until(lambda: machine.positions().get("g2", 0) > 0, what="something is done")
    replaying.cancel()
    await asyncio.wait([replaying])
    assert replaying.cancelled()
    assert generations.active(machine.registry).name == "g1", "nobody reads half a generation"
    done_before, held[0] = machine.positions()["g2"], False
    assert 0 < done_before < 1200
    assert machine.embedder is not None
    machine.embedder.texts.clear()
    done = await machine.replay()
    assert (done.generation, done.records) == ("g2", 1200)
    assert len(machine.embedder.texts) == 1200 - done_before
    assert machine.store.reader("g2").outcomes(0) == {"stored": 1200}


async def test_a_store_that_goes_away_is_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.log.append([remembered_record(number) for number in range(1200)])
    real, calls = Ingestor.process, [0]

    def process(self: Ingestor, *args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == 2:
            raise StoreUnavailable("gone in the middle")
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Ingestor, "process", process)
    assert (await machine.replay()).outcomes == {"stored": 1200}


async def test_a_log_that_goes_away_in_the_middle_is_waited_for_and_that_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.log.append([remembered_record(number) for number in range(1200)])
    real = machine.log.end

    async def end() -> dict[int, int]:
        if machine.progress and not any(one.waits_for for one in machine.progress):  # away until that was said
            raise LogUnavailable("the broker is away")
        return await real()

    monkeypatch.setattr(machine.log, "end", end)
    assert (await machine.replay()).outcomes == {"stored": 1200}
    assert "the broker is away" in {one.waits_for for one in machine.progress}
    assert (machine.progress[-1].done, machine.progress[-1].total) == (1200, 1200)


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


async def test_beside_a_consumer_the_command_builds_and_the_consumer_has_it_before_it_answers(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(40)])
    async with machine.consuming():
        await machine.processed(39)
        done = await machine.replay()
        assert (done.generation, done.replaced, done.records, done.reused) == ("g2", "g1", 40, 40)
        assert machine.progress[0].here and not machine.progress[-1].here, "built here, left to the consumer then"
        assert WritingRights.of(machine.settings).is_elsewhere("g2"), "who consumes it when it begins to answer"
        await machine.log.append([remembered_record(40)])
        await until(lambda: machine.positions() == {"g1": 41, "g2": 41}, what="both generations consume what is new")
    assert machine.contents("g1") == machine.contents("g2")


async def test_what_is_not_built_to_its_end_is_taken_over_by_the_consumer(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await machine.log.append([remembered_record(number) for number in range(40)])
    async with machine.consuming():
        await machine.processed(39)
        with monkeypatch.context() as held:
            held.setattr("crewmem_consumers.stand_in.StandIn._consume", lambda self: asyncio.sleep(60))
            replaying = asyncio.create_task(machine.replay())
            await until(lambda: machine.progress and machine.progress[-1].here, what="the command has begun")
            assert machine.positions() == {"g1": 40, "g2": 0}, "and nobody else is at it"
            replaying.cancel()
            await asyncio.wait([replaying])
        await machine.processed(39, generation="g2")
    assert generations.active(machine.registry).name == "g1"
    assert machine.contents("g1") == machine.contents("g2")


async def test_a_consumer_that_does_not_take_it_over_is_waited_for_until_it_ends(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(40)])
    async with machine.consuming():
        await machine.processed(39)
        machine.health.refused["g2"] = "a test"
        replaying = asyncio.create_task(machine.replay())
        await until(lambda: any(one.waits_for == TAKE_OVER for one in machine.progress), what="that is said")
        assert generations.active(machine.registry).name == "g1", "nobody would consume the new one"
    assert (await replaying).records == 40
    assert generations.active(machine.registry).name == "g2"


async def test_new_events_keep_arriving_and_the_old_generation_answers_until_the_switch(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(200)])
    async with machine.consuming():
        replaying = asyncio.create_task(machine.replay())
        number = 200
        while not replaying.done():
            await machine.log.append([remembered_record(number)])
            number += 1
            await asyncio.sleep(0.02)
        await replaying
        assert generations.active(machine.registry).name == "g2"
        await until(lambda: machine.positions() == {"g1": number, "g2": number}, what="both have everything")
    assert machine.contents("g1") == machine.contents("g2")
    assert len(machine.contents("g2")) == number


async def test_it_can_be_left_to_somebody_to_activate(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    await machine.replay()
    done = await machine.replay(activate=False)
    assert (done.generation, done.replaced, done.activated, done.records) == ("g2", None, False, 5)
    assert generations.active(machine.registry).name == "g1"
    assert (await machine.replay()).generation == "g2", "it is the same work: nothing is done twice"
    assert generations.active(machine.registry).name == "g2"


async def test_no_fourth_generation_is_added_and_the_remedy_is_named(machine: Machine) -> None:
    await machine.log.append([remembered_record(0)])
    for _ in range(3):
        await machine.replay()
    with pytest.raises(TooManyGenerations, match=r"g1 or g2 .*crewmem generations drop"):
        await machine.replay()
    await switch.drop("g1", registry=machine.registry, store=machine.store, grace_seconds=0)
    assert (await machine.replay()).generation == "g4"


async def test_going_back_is_one_record_and_a_replay_after_it_begins_anew(machine: Machine) -> None:
    await machine.log.append([remembered_record(0)])
    await machine.replay()
    await machine.replay()
    await switch.activate("g1", log=machine.log, registry=machine.registry, store=machine.store)
    assert generations.active(machine.registry).name == "g1"
    assert (await machine.replay()).generation == "g3", "g2 answered once: it is not an unfinished replay"


async def test_events_before_a_time_are_dropped_and_forgets_before_it_hold(machine: Machine) -> None:
    early, late = remembered(0), remembered(100)
    assert late.scope is not None
    forget = Event(
        body=MemoryForgotten(spans=[SpanRef(event_id=late.id, span="content")]), scope=late.scope, id="forget", source="test",
        time=early.time,
    )  # fmt: skip
    await machine.log.append([encode(one) for one in (early, forget, late, remembered(101))])
    done = await machine.replay(since=late.time)
    assert done.outcomes == {"dropped": 1, "applied": 1, "forgotten": 1, "stored": 1}
    (dropped, *_) = machine.store.reader("g1").ledger(0, start=0, limit=1)
    assert (dropped.rule, dropped.spans["content"]["rule"]) == ("since", "since")
    assert generations.active(machine.registry).since is not None
    assert (await machine.replay()).outcomes == {"stored": 2, "applied": 1, "forgotten": 1}, "the next one takes everything"


async def test_the_embedder_stays_unless_it_is_to_move(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    await machine.replay()
    opened: list[str] = []

    def open_embedder(name: str) -> CountingEmbedder:
        opened.append(name)
        return CountingEmbedder(dimensions=int(name.removeprefix("hashing")))

    machine.embedder, machine.open_embedder = None, open_embedder
    moved = await machine.replay(move_to="hashing64")
    assert (moved.embedded, moved.reused) == (5, 0)
    assert generations.active(machine.registry).dimensions == 64
    again = await machine.replay()
    assert (again.embedded, again.reused) == (0, 5)
    assert generations.active(machine.registry).embedder == "hashing64"
    assert opened == ["hashing64", "hashing64"], "CREWMEM_EMBEDDER names another one, which is not asked for"


async def test_a_generation_of_other_making_is_not_gone_on_with(machine: Machine) -> None:
    await machine.log.append([remembered_record(0)])
    await machine.replay()
    stray = replace(generations.active(machine.registry), name="g2", embedder_fingerprint="another")
    await generations.save(machine.registry, stray)
    assert (await machine.replay()).generation == "g3"
    await switch.drop("g1", registry=machine.registry, store=machine.store, grace_seconds=0)
    await switch.drop("g2", registry=machine.registry, store=machine.store, grace_seconds=0)
    await generations.save(machine.registry, replace(generations.active(machine.registry), name="g4", splitter=2))
    assert (await machine.replay()).generation == "g5"


@pytest.mark.kafka
async def test_on_kafka_consumers_that_run_do_it_and_where_none_does_the_command_does(
    tmp_path: Path, namespace: str, kafka: str
) -> None:
    from crewmem_producers.topics import ensure_topics

    settings = ConsumerSettings(home=tmp_path, namespace=namespace, kafka_bootstrap=kafka, kafka_partitions=3)
    await ensure_topics(settings)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    machine = Machine(settings, log, registry)
    machine.store.open(namespace=namespace)
    reader = machine.store.reader
    try:
        await log.append([remembered_record(number, session=f"s{number % 9}") for number in range(60)])
        async with machine.consuming():
            await until(lambda: sum(reader("g1").last_offset(p) + 1 for p in range(3)) == 60, what="60 records")
            done = await machine.replay()
            assert (done.generation, done.records) == ("g2", 60)
            assert not any(one.here for one in machine.progress)
        done = await machine.replay()
        assert (done.generation, done.records, done.embedded) == ("g3", 60, 0)
        assert machine.progress[-1].here
    finally:
        await registry.close()
        await log.close()
