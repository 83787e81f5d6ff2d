"""A worker takes its partition's records through the pipeline: in order, all of them, whatever goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from consumers.fakes import FakePipeline, partition_log, record, some_store
from crewmem_consumers.health import PartitionStatus
from crewmem_consumers.partition_log import PartitionLog
from crewmem_consumers.partition_worker import Limits, Opened, PartitionWorker
from crewmem_producers.errors import KeyMissing, LogUnavailable, StoreUnavailable
from crewmem_store.errors import LogMismatch
from support.awaiting import until


@asynccontextmanager
async def working(
    pipeline: FakePipeline,
    *,
    limits: Limits = Limits(batch_records=100, batch_wait_seconds=0.0),  # noqa: B008
    log: PartitionLog | None = None,
    on_room: Callable[[], None] = lambda: None,
    ready: bool = True,
) -> AsyncIterator[PartitionWorker]:
    positions: list[int] = []
    worker = PartitionWorker(
        partition=0,
        open_partition=lambda: Opened(pipeline, some_store()),
        log=log or partition_log(),
        status=PartitionStatus(generation="g1", partition=0),
        limits=limits,
        on_ready=positions.append,
        on_room=on_room,
    )
    worker.start()
    if ready:
        await until(lambda: bool(positions), what="the worker is ready")
    try:
        yield worker
    finally:
        pipeline.gate.set()
        await worker.stop()


async def test_every_record_is_processed_once_and_in_order() -> None:
    pipeline = FakePipeline()
    async with working(pipeline) as worker:
        for start in range(0, 300, 30):
            worker.offer([record(offset) for offset in range(start, start + 30)])
        await until(lambda: worker.status.position == 300, what="300 records")
        assert pipeline.seen == list(range(300))


async def test_reading_begins_at_the_pipelines_position_and_the_record_before_it_is_verified() -> None:
    pipeline = FakePipeline(position=7)
    async with working(pipeline, log=partition_log(record(6))) as worker:
        assert worker.expected == 7
        assert [one and one.offset for one in pipeline.verified] == [6]


async def test_a_log_in_doubt_is_verified_before_anything_more_of_it_is_processed() -> None:
    pipeline = FakePipeline(position=3)
    async with working(pipeline, log=partition_log(record(2), record(2))) as worker:
        worker.status.in_doubt = True
        pipeline.verify_errors.append(LogMismatch("the log was refilled"))
        worker.offer([record(3)])
        with pytest.raises(LogMismatch):
            await asyncio.wait_for(asyncio.shield(worker.task), 60)
        assert pipeline.seen == [] and worker.status.refused == "the log was refilled"


async def test_a_log_in_doubt_that_is_the_same_is_read_on() -> None:
    pipeline = FakePipeline(position=3)
    async with working(pipeline, log=partition_log(record(2), LogUnavailable("not yet"), record(2))) as worker:
        worker.status.in_doubt = True
        worker.offer([record(3)])
        await until(lambda: pipeline.seen == [3], what="it goes on")
        assert [one and one.offset for one in pipeline.verified] == [2, 2] and not worker.status.in_doubt


async def test_records_that_were_offered_before_are_not_taken_again() -> None:
    pipeline = FakePipeline(position=3)
    async with working(pipeline) as worker:
        worker.offer([record(offset) for offset in range(5)])
        worker.offer([record(offset) for offset in range(2, 8)])
        await until(lambda: len(pipeline.seen) == 5, what="records 3 to 7")
        assert pipeline.seen == [3, 4, 5, 6, 7]


async def test_while_a_key_is_missing_the_store_is_tidied_up() -> None:
    pipeline = FakePipeline()
    pipeline.away = KeyMissing("its record is gone")
    async with working(pipeline) as worker:
        worker.offer([record(0)])
        await until(lambda: "work" in worker.status.waits, what="health says what is waited for")
        before = pipeline.idles
        await until(lambda: pipeline.idles > before, what="it is tidied up while the key is missing")
        assert pipeline.seen == []
        pipeline.away = None
        await until(lambda: pipeline.seen == [0], what="it goes on")


async def test_a_batch_is_never_larger_than_the_limit() -> None:
    pipeline = FakePipeline()
    async with working(pipeline, limits=Limits(batch_records=10, batch_wait_seconds=0.0)) as worker:
        worker.offer([record(offset) for offset in range(95)])
        await until(lambda: len(pipeline.seen) == 95, what="95 records")
        assert max(map(len, pipeline.batches)) <= 10


async def test_a_store_that_is_away_is_waited_for_and_health_says_so() -> None:
    pipeline = FakePipeline()
    pipeline.away = StoreUnavailable("the bucket does not answer")
    async with working(pipeline) as worker:
        worker.offer([record(0), record(1)])
        await until(lambda: "work" in worker.status.waits, what="health says what is waited for")
        assert "StoreUnavailable" in worker.status.waits["work"].says
        pipeline.away = None
        await until(lambda: pipeline.seen == [0, 1], what="both records")
        await until(lambda: not worker.status.waits, what="health is well again")


async def test_a_dead_letter_log_that_is_away_is_waited_for() -> None:
    pipeline = FakePipeline(errors=[LogUnavailable("no broker")])
    async with working(pipeline) as worker:
        worker.offer([record(0)])
        await until(lambda: pipeline.seen == [0], what="the record")


async def test_an_unexpected_fault_skips_nothing() -> None:
    pipeline = FakePipeline(errors=[RuntimeError("a fault of ours")])
    async with working(pipeline) as worker:
        worker.offer([record(0), record(1)])
        await until(lambda: pipeline.seen == [0, 1], what="both records, after the fault")


async def test_an_outage_is_one_warning_and_its_end_one_line(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = FakePipeline(errors=[StoreUnavailable(f"try {number}") for number in range(3)])
    with caplog.at_level(logging.INFO, logger="crewmem.consumer"):
        async with working(pipeline) as worker:
            worker.offer([record(0)])
            await until(lambda: pipeline.seen == [0] and not worker.status.waits, what="the record")
    assert [line.levelname for line in caplog.records if "partition 0" in line.getMessage()] == ["WARNING", "INFO"]


async def test_a_stop_waits_for_the_batch_in_hand_and_drops_what_was_only_read() -> None:
    pipeline = FakePipeline()
    async with working(pipeline, limits=Limits(batch_records=2, batch_wait_seconds=0.0)) as worker:
        pipeline.gate.clear()
        worker.offer([record(offset) for offset in range(10)])
        await until(pipeline.entered.is_set, what="a batch is being processed")
        pipeline.gate.set()
        await worker.stop()
        assert worker.task.done()
        assert pipeline.seen == list(range(len(pipeline.seen)))
        assert len(pipeline.seen) < 10


async def test_a_stop_during_a_backoff_returns_without_another_attempt() -> None:
    pipeline = FakePipeline(errors=[StoreUnavailable("away") for _ in range(1000)])
    async with working(pipeline) as worker:
        worker.offer([record(0)])
        await until(lambda: bool(worker.status.waits), what="a backoff")
        await worker.stop()
        assert pipeline.seen == []
        assert worker.task.exception() is None


async def test_a_log_that_is_another_one_ends_the_worker_with_the_remedy() -> None:
    pipeline = FakePipeline(position=5)
    pipeline.verify_errors = [LogMismatch("the log was wiped: run `crewmem replay`")]
    async with working(pipeline, ready=False) as worker:
        await until(worker.task.done, what="the worker has ended")
        assert "crewmem replay" in (worker.status.refused or "")
        with pytest.raises(LogMismatch):
            worker.task.result()


async def test_a_log_that_is_away_while_the_partition_is_adopted_is_waited_for() -> None:
    pipeline = FakePipeline(position=5)
    async with working(pipeline, log=partition_log(LogUnavailable("no broker"), record(4))):
        assert [one and one.offset for one in pipeline.verified] == [4]


async def test_a_record_that_is_not_there_for_a_moment_is_looked_for_again() -> None:
    pipeline = FakePipeline(position=5)
    async with working(pipeline, log=partition_log(record(9), record(4))):
        assert [one and one.offset for one in pipeline.verified] == [4]


async def test_a_fresh_partition_begins_at_the_first_record_that_is_still_there() -> None:
    pipeline = FakePipeline()
    async with working(pipeline, log=partition_log(first=40)) as worker:
        assert worker.expected == 40
        worker.offer([record(offset) for offset in range(40, 45)])
        await until(lambda: pipeline.seen == [40, 41, 42, 43, 44], what="what is there")


async def test_a_full_queue_says_so_and_says_when_it_has_room_again() -> None:
    pipeline = FakePipeline()
    rooms: list[bool] = []
    limits = Limits(batch_records=5, batch_wait_seconds=0.0)
    async with working(pipeline, limits=limits, on_room=lambda: rooms.append(True)) as worker:
        pipeline.gate.clear()
        worker.offer([record(0)])
        await until(pipeline.entered.is_set, what="the first batch")
        worker.offer([record(offset) for offset in range(1, limits.queue_records + 1)])
        assert worker.full
        pipeline.gate.set()
        await until(lambda: bool(rooms), what="room again")
        await until(lambda: len(pipeline.seen) == limits.queue_records + 1, what="all records")


async def test_a_few_huge_records_fill_the_queue_too() -> None:
    pipeline = FakePipeline()
    async with working(pipeline) as worker:
        pipeline.gate.clear()
        worker.offer([record(offset, value=bytes(9 * 1024 * 1024)) for offset in range(6)])
        assert worker.full


async def test_the_oldest_waiting_record_is_known_while_its_batch_is_processed() -> None:
    pipeline = FakePipeline()
    async with working(pipeline) as worker:
        pipeline.gate.clear()
        worker.offer([record(0)])
        await until(pipeline.entered.is_set, what="the first batch")
        worker.offer([record(1)])
        assert worker.status.head_timestamp_ms == record(0).timestamp_ms
        pipeline.gate.set()
        await until(lambda: worker.status.position == 2, what="both records")
        assert worker.status.head_timestamp_ms is None


async def test_work_on_the_thread_never_runs_beside_a_batch() -> None:
    pipeline = FakePipeline()
    async with working(pipeline) as worker:
        worker.offer([record(offset) for offset in range(50)])
        await until(lambda: len(pipeline.seen) == 50, what="50 records")
        assert await worker.on_thread(lambda: len(pipeline.seen)) == 50


async def test_an_idle_partition_is_looked_after() -> None:
    pipeline = FakePipeline()
    async with working(pipeline):
        await until(lambda: pipeline.idles >= 2, what="the store is looked after")


async def test_a_lone_record_does_not_wait_for_a_batch_and_those_right_after_it_come_together() -> None:
    pipeline = FakePipeline()
    async with working(pipeline, limits=Limits(batch_records=3, batch_wait_seconds=3600.0)) as worker:
        worker.offer([record(0)])
        await until(lambda: pipeline.seen == [0] and pipeline.idles > 0, what="the lone record")
        worker.offer([record(1)])
        await asyncio.sleep(0.05)
        worker.offer([record(2), record(3)])
        await until(lambda: len(pipeline.seen) == 4, what="a full batch")
        assert pipeline.batches == [[0], [1, 2, 3]]
