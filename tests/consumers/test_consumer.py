"""The consumer of one process, on the SQLite log: what is published is remembered, and what stands in the way is said."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_consumers.consumer import run
from crewmem_consumers.errors import ConsumerRunning
from crewmem_consumers.health import create_app
from crewmem_consumers.opening import only_consumer
from crewmem_producers.connect import FILE_NAME, open_dead_letter_log, open_log
from crewmem_producers.errors import RegistryUnavailable, SettingsError, StoreUnavailable
from crewmem_producers.log import EventLog, Record
from crewmem_producers.registry import Registry
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import EmbedderMismatch, LogMismatch, PartitionsChanged
from crewmem_store.rows import Outcome
from crewmem_store.service.server import listen, served
from support.awaiting import until
from support.kafka import free_port
from support.llm_endpoint import Endpoint
from support.logged import remembered_record
from support.machine import PATIENCE_SECONDS, Machine, machine_in


async def fails(machine: Machine) -> Exception | None:
    """What a consumer that ends by itself raises."""
    try:
        async with machine.consuming() as task:
            await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    except Exception as error:
        return error
    return None


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine_in(tmp_path, Machine, batch_wait_ms=0) as made:
        yield made


async def test_what_is_published_is_remembered(machine: Machine) -> None:
    async with machine.consuming():
        await machine.log.append([remembered_record(number) for number in range(20)])
        await machine.processed(19)
    reader = machine.store.reader("g1")
    assert len(reader.rows(["default/s"], partitions=[0]).rows) == 20
    assert reader.outcomes(0) == {"stored": 20}
    assert generations.active(machine.registry).name == "g1"


async def test_a_consumer_keeps_the_registry_in_order(machine: Machine) -> None:
    await machine.registry.put("producer/long-gone", {"seen_at": "2020-01-01T00:00:00Z", "depth": 3})
    async with machine.consuming():
        await until(lambda: machine.registry.get("producer/long-gone") is None, what="the host is taken out")


async def test_a_consumer_goes_on_where_the_last_one_stopped(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    async with machine.consuming():
        await machine.processed(4)
    await machine.log.append([remembered_record(number) for number in range(5, 9)])
    async with machine.consuming():
        await machine.processed(8)
    assert [row.offset for row in machine.store.reader("g1").ledger(0, start=0, limit=100)] == list(range(9))


async def test_what_can_never_be_processed_goes_to_the_dead_letters_and_holds_up_nothing(machine: Machine) -> None:
    bad = [
        Record(None, None),
        Record(b"default/x", b"not json", (("ce_id", b"x"), ("ce_type", b"crewmem.memory.remembered"), ("ce_time", b"never"))),
        Record(b"\xff\xfe", b"\x00" * 100, (("h\udcff", b"\xff"), ("ce_id", b"\xff"))),
    ]
    await machine.log.append([remembered_record(0), *bad, remembered_record(1)])
    async with machine.consuming():
        await machine.processed(4)
    assert machine.store.reader("g1").outcomes(0) == {"stored": 2, "dead_letter": 3}
    letters = open_dead_letter_log(machine.settings)
    await letters.start()
    found = await letters.read(0, 0)
    await letters.close()
    assert [letter.header("crewmem-dlq-offset") for letter in found] == ["1", "2", "3"]
    assert [letter.value for letter in found] == [record.value for record in bad]


async def test_a_generation_that_appears_gets_a_subscriber_and_a_dropped_one_loses_it(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(3)])
    async with machine.consuming():
        await machine.processed(2)
        second = replace(generations.active(machine.registry), name="g2")
        await generations.save(machine.registry, second)
        await machine.processed(2, generation="g2")
        await generations.save(machine.registry, replace(second, dropped=True))
        await until(lambda: ("g2", 0) not in machine.health.partitions, what="g2 is not consumed any more")
        await machine.log.append([remembered_record(3)])
        await machine.processed(3)
        assert machine.store.reader("g2").last_offset(0) == 2


async def test_a_wiped_log_is_refused_with_the_remedy_and_nothing_is_skipped(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    async with machine.consuming():
        await machine.processed(4)
    machine.log = await _another_log(machine)
    await machine.log.append([remembered_record(number) for number in range(100, 103)])
    error = await fails(machine)
    assert isinstance(error, LogMismatch)
    assert "crewmem replay" in str(error)
    assert machine.store.reader("g1").last_offset(0) == 4


async def test_a_refilled_log_is_refused_with_the_remedy(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    async with machine.consuming():
        await machine.processed(4)
    machine.log = await _another_log(machine)
    await machine.log.append([remembered_record(number) for number in range(100, 120)])
    assert isinstance(await fails(machine), LogMismatch)


async def test_a_log_that_is_refilled_under_a_running_consumer_is_not_read_on(machine: Machine) -> None:
    await machine.log.append([remembered_record(number) for number in range(5)])
    with pytest.raises(LogMismatch, match="crewmem replay"):
        async with machine.consuming() as task:
            await machine.processed(4)
            with closing(sqlite3.connect(machine.settings.home / FILE_NAME)) as database, database:
                database.execute("DELETE FROM log_records")
                database.execute("UPDATE log_partitions SET next_offset = 0")
            await until(lambda: machine.health.partitions["g1", 0].in_doubt, what="it was seen to be too short")
            await machine.log.append([remembered_record(number) for number in range(100, 120)])
            await asyncio.wait([task], timeout=PATIENCE_SECONDS)
    assert machine.store.reader("g1").last_offset(0) == 4


async def _another_log(machine: Machine) -> EventLog:
    await machine.log.close()
    other = open_log(machine.settings.model_copy(update={"home": machine.settings.home / "other"}))
    (machine.settings.home / "other").mkdir()
    await other.start()
    return other


async def test_another_embedder_is_refused_with_the_remedy(machine: Machine) -> None:
    async with machine.consuming():
        await until(lambda: machine.health.starting is None, what="it consumes")
    machine.embedder = HashingEmbedder(dimensions=16)
    error = await fails(machine)
    assert isinstance(error, EmbedderMismatch)
    assert "crewmem replay --embedder" in str(error)


async def test_another_number_of_partitions_is_refused(machine: Machine) -> None:
    async with machine.consuming():
        await until(lambda: machine.health.starting is None, what="it consumes")
    await generations.save(machine.registry, replace(generations.active(machine.registry), partitions=12))
    assert isinstance(await fails(machine), PartitionsChanged)


async def test_a_generation_of_another_splitter_is_refused_with_the_remedy(machine: Machine) -> None:
    async with machine.consuming():
        await until(lambda: machine.health.starting is None, what="it consumes")
    await generations.save(machine.registry, replace(generations.active(machine.registry), splitter=2))
    assert "crewmem replay" in str(await fails(machine))


async def test_a_generation_that_nobody_reads_and_that_cannot_go_on_is_left_out_and_said_so(machine: Machine) -> None:
    async with machine.consuming():
        await until(lambda: machine.health.starting is None, what="it consumes")
        other = replace(generations.active(machine.registry), name="g2", partitions=7)
        await generations.save(machine.registry, other)
        await until(lambda: "g2" in machine.health.refused, what="g2 is left out")
        assert "partitions" in machine.health.refused["g2"]
        await machine.log.append([remembered_record(0)])
        await machine.processed(0)


async def test_a_second_consumer_of_the_same_machine_is_refused(machine: Machine) -> None:
    with only_consumer(machine.settings):
        assert isinstance(await fails(machine), ConsumerRunning)


async def test_a_store_that_goes_away_is_waited_for_and_health_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crewmem_store.memory import MemoryPartition

    real = MemoryPartition.commit
    away = [True]

    def commit(self: MemoryPartition, **what: object) -> None:
        if away[0]:
            raise StoreUnavailable("the bucket does not answer")
        real(self, **what)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryPartition, "commit", commit)
    async with machine.consuming(), _client(machine) as http:
        await machine.log.append([remembered_record(number) for number in range(4)])
        await until(lambda: machine.health.starting is None and not machine.health.ready, what="health says what it waits for")
        answer = await http.get("/health/ready")
        assert answer.status_code == 503
        assert "bucket" in answer.json()["generations"]["g1"]["0"]["waits_for"]
        assert (await http.get("/health/live")).status_code == 200
        away[0] = False
        await machine.processed(3)
        await until(lambda: machine.health.ready, what="it is well again")
    assert machine.store.reader("g1").outcomes(0) == {Outcome.STORED: 4}


class AwayRegistry:
    """The machine's registry, which does not answer while `away` is set; what it knew stays readable."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.away = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    async def refresh(self) -> None:
        if self.away:
            raise RegistryUnavailable("the registry does not answer")
        await self._registry.refresh()


async def test_a_registry_that_is_away_when_a_consumer_starts_is_waited_for(machine: Machine) -> None:
    machine.registry = registry = AwayRegistry(machine.registry)  # type: ignore[assignment]
    await machine.log.append([remembered_record(number) for number in range(3)])
    async with machine.consuming():
        await until(
            lambda: "RegistryUnavailable" in (machine.health.starting or ""), what="health says what the start waits for"
        )
        registry.away = False
        await machine.processed(2)
        await until(lambda: machine.health.ready, what="it is well again")


async def test_a_registry_that_goes_away_later_is_said_and_holds_up_no_record(machine: Machine) -> None:
    machine.registry = registry = AwayRegistry(machine.registry)  # type: ignore[assignment]
    registry.away = False
    async with machine.consuming(), _client(machine) as http:
        await machine.log.append([remembered_record(0)])
        await machine.processed(0)
        registry.away = True
        await until(lambda: machine.health.waits, what="health says that the registry is away")
        assert "RegistryUnavailable" in (await http.get("/health/ready")).json()["waits_for"]
        assert 'crewmem_waiting{part="registry"} 1.0' in (await http.get("/metrics")).text
        await machine.log.append([remembered_record(number) for number in range(1, 5)])
        await machine.processed(4)
        registry.away = False
        await until(lambda: machine.health.ready, what="it is well again")


async def test_health_and_metrics_tell_position_lag_and_outcomes(machine: Machine) -> None:
    async with machine.consuming():
        await machine.log.append([remembered_record(number) for number in range(4)] + [Record(None, None)])
        await machine.processed(4)
        await until(lambda: machine.health.partitions["g1", 0].lag == 0, what="the monitor has looked")
        async with _client(machine) as http:
            await until(lambda: machine.health.ready, what="ready")
            report = (await http.get("/health/ready")).json()
            assert (report["status"], report["dead_letters"]) == ("ok", 1)
            partition = report["generations"]["g1"]["0"]
            assert (partition["position"], partition["lag"], partition["oldest_unprocessed_seconds"]) == (5, 0, 0.0)
            text = (await http.get("/metrics")).text
            assert 'crewmem_records_total{outcome="stored"} 4.0' in text
            assert 'crewmem_records_total{outcome="dead_letter"} 1.0' in text
            assert "crewmem_lag_records 0.0" in text
            assert "crewmem_oldest_unprocessed_seconds 0.0" in text


async def test_without_a_health_of_the_caller_its_pages_are_served_on_a_port(machine: Machine) -> None:
    free = free_port()
    settings = machine.settings.model_copy(update={"consumer_host": "127.0.0.1", "consumer_port": free})
    stop = asyncio.Event()
    task = asyncio.create_task(
        run(settings, stop=stop, log=machine.log, registry=machine.registry, store=machine.store, embedder=machine.embedder)
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free}") as http:
            await _answers(http, "/health/ready")
            assert "crewmem_lag_records" in (await http.get("/metrics")).text
    finally:
        stop.set()
        await task


async def test_a_port_that_is_taken_is_said_with_the_consumers_own_settings(machine: Machine) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        settings = machine.settings.model_copy(update={"consumer_host": "127.0.0.1", "consumer_port": port})
        with pytest.raises(SettingsError, match="CREWMEM_CONSUMER_HOST and CREWMEM_CONSUMER_PORT"):
            await run(settings, stop=asyncio.Event())


async def test_an_endpoint_for_summaries_that_hangs_delays_no_memory_and_leaves_a_backlog(machine: Machine) -> None:
    endpoint = Endpoint(hold=asyncio.Event())
    long = "The Acme plan costs 49 dollars a seat and has no audit log. " * 20
    assert endpoint.hold is not None
    async with served(endpoint.app(), host="127.0.0.1", port=0) as port:
        model = {"llm_base_url": f"http://127.0.0.1:{port}/v1", "llm_model": "small", "llm_timeout_seconds": 300.0}
        machine.settings = machine.settings.model_copy(update=model)
        async with machine.consuming():
            await machine.log.append([remembered_record(0, content=long)])
            await until(lambda: endpoint.asked, what="the endpoint is asked")
            await machine.log.append([remembered_record(number) for number in range(1, 6)])
            await machine.processed(5)
            assert machine.health.ready
            assert machine.health.report()["llm_backlog"] >= 1
            endpoint.hold.set()
            reader = machine.store.reader("g1")
            await until(
                lambda: all(row.summary for row in reader.rows(["default/s"], partitions=[0]).rows), what="every summary"
            )


async def _answers(http: httpx.AsyncClient, path: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await http.get(path)).status_code == 200:
                    return
            except httpx.ConnectError:
                pass
            await asyncio.sleep(0.05)


def _client(machine: Machine) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(machine.health))
    return httpx.AsyncClient(transport=transport, base_url="http://consumer")
