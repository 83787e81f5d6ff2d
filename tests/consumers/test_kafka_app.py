"""The FastStream subscriber on Apache Kafka: it hands over every record, holds nothing up and commits nothing but for lag."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiokafka")

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from crewmem_consumers.health import Health
from crewmem_consumers.kafka_app import KafkaApp, open_broker
from crewmem_consumers.owned import OwnedPartitions
from crewmem_consumers.partition_worker import Limits
from crewmem_consumers.steps import DECIDED, no_checkpoint
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.log import EventLog, Record
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.topics import ensure_topics, events_topic
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from support.awaiting import until
from support.kafka import free_port
from support.keyrings import plain_keyring
from support.logged import remembered

PARTITIONS = 2


class NoLetters:
    def send(self, letters: object) -> None:
        raise AssertionError("no dead letters were expected")


def settings_of(home: Path, namespace: str, bootstrap: str) -> ConsumerSettings:
    return ConsumerSettings(home=home, namespace=namespace, kafka_bootstrap=bootstrap, kafka_partitions=PARTITIONS)


@dataclass
class App:
    settings: ConsumerSettings
    log: EventLog
    owned: OwnedPartitions
    app: KafkaApp
    store: MemoryStore
    health: Health
    failures: list[BaseException] = field(default_factory=list)

    def offsets(self, partition: int) -> list[int]:
        return [row.offset for row in self.store.reader("g1").ledger(partition, start=0, limit=100_000)]

    async def publish(self, partition: int, count: int, *, start: int = 0) -> None:
        records = [encode(remembered(number, session=f"s{partition}")) for number in range(start, start + count)]
        await self.log.append([Record(one.key, one.value, one.headers, partition=partition) for one in records])


@asynccontextmanager
async def consuming(
    home: Path, namespace: str, bootstrap: str, *, checkpoint: Callable[[str], None] = no_checkpoint, batch: int = 100
) -> AsyncIterator[App]:
    settings = settings_of(home, namespace, bootstrap)
    await ensure_topics(settings)
    log = open_log(settings)
    await log.start()
    store, health, embedder = MemoryStore(), Health(), HashingEmbedder()
    store.open(namespace=namespace)
    generation = Generation(
        name="g1", embedder="hashing", embedder_fingerprint=embedder.fingerprint, dimensions=embedder.dimensions,
        partitions=PARTITIONS,
    )  # fmt: skip
    failures: list[BaseException] = []
    owned = OwnedPartitions(
        generation=generation, log=log, store=store, embedder=embedder, dead_letters=NoLetters(), summariser=None,
        keyring=plain_keyring(),
        health=health, limits=Limits(batch_records=batch, batch_wait_seconds=0.0), checkpoint=checkpoint,
        on_failure=lambda name, error: failures.append(error),
    )  # fmt: skip
    broker = open_broker(settings)
    await broker.start()
    app = KafkaApp(owned, broker=broker, settings=settings)
    await app.start()
    try:
        yield App(settings, log, owned, app, store, health, failures)
    finally:
        await app.stop()
        await broker.stop()
        await log.close()


@pytest.mark.kafka
async def test_a_slow_partition_is_paused_when_its_queue_is_full_and_holds_up_no_other(
    tmp_path: Path, namespace: str, kafka: str
) -> None:
    gate = threading.Event()

    def checkpoint(step: str) -> None:
        if threading.current_thread().name.startswith("g1-p0") and step == DECIDED:
            gate.wait(120)

    async with consuming(tmp_path, namespace, kafka, checkpoint=checkpoint, batch=10) as made:
        try:
            await made.publish(0, 500)
            await made.publish(1, 500)
            await until(lambda: len(made.offsets(1)) == 500, what="the other partition is done")
            worker = made.owned.get(0)
            assert worker is not None and worker.full
            consumer = made.app._consumer
            assert consumer is not None
            assert TopicPartition(events_topic(namespace), 0) in consumer.paused()
            assert made.offsets(0) == []
        finally:
            gate.set()
        await until(lambda: made.offsets(0) == list(range(500)), what="the slow partition is done too")


@pytest.mark.kafka
async def test_a_partition_that_fails_again_and_again_holds_up_no_other_and_is_said(
    tmp_path: Path, namespace: str, kafka: str
) -> None:
    poisoned = threading.Event()
    poisoned.set()

    def checkpoint(step: str) -> None:
        if poisoned.is_set() and threading.current_thread().name.startswith("g1-p0") and step == DECIDED:
            raise RuntimeError("a batch that no code of ours gets through")

    async with consuming(tmp_path, namespace, kafka, checkpoint=checkpoint, batch=10) as made:
        await made.publish(0, 50)
        await made.publish(1, 50)
        await until(lambda: made.offsets(1) == list(range(50)), what="the other partition is done")
        await until(lambda: made.health.partitions["g1", 0].waits, what="health says so")
        assert not made.health.ready and not made.health.partitions["g1", 1].waits
        assert "a batch that no code of ours" in made.health.report()["generations"]["g1"]["0"]["waits_for"]
        poisoned.clear()
        await until(lambda: made.offsets(0) == list(range(50)), what="nothing was skipped", seconds=120)
        assert made.failures == []


@pytest.mark.kafka
async def test_offsets_that_hold_no_record_are_not_waited_for(tmp_path: Path, namespace: str, kafka: str) -> None:
    async with consuming(tmp_path, namespace, kafka) as made:
        producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=namespace)
        await producer.start()
        for number in range(6):
            async with producer.transaction():
                record = encode(remembered(number, session="s0"))
                await producer.send(
                    events_topic(namespace), record.value, key=record.key, headers=list(record.headers), partition=0
                )
        await producer.stop()
        await until(lambda: made.offsets(0) == [0, 2, 4, 6, 8, 10], what="every record, between transaction markers")


@pytest.mark.kafka
async def test_the_groups_commit_follows_the_store_for_lag_monitors(tmp_path: Path, namespace: str, kafka: str) -> None:
    place = TopicPartition(events_topic(namespace), 0)
    async with consuming(tmp_path, namespace, kafka) as made:
        await made.publish(0, 40)
        await until(lambda: len(made.offsets(0)) == 40, what="40 records")
        monitor = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=f"{namespace}.g1", enable_auto_commit=False)
        await monitor.start()
        try:
            async with asyncio.timeout(60):
                while await monitor.committed(place) != 40:
                    await asyncio.sleep(0.2)
        finally:
            await monitor.stop()


@pytest.mark.kafka
async def test_records_that_were_lost_on_the_way_to_the_handler_are_read_again(
    tmp_path: Path, namespace: str, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lost = KafkaApp._handle, [3]

    async def forgetful(self: KafkaApp, records: Any) -> None:
        if lost[0] and records[0].offset >= 10:
            lost[0] -= 1  # the framework gives up a batch when anything raises in front of the handler
        else:
            await real(self, records)

    monkeypatch.setattr(KafkaApp, "_handle", forgetful)
    async with consuming(tmp_path, namespace, kafka) as made:
        for start in range(0, 60, 10):
            await made.publish(0, 10, start=start)
            await asyncio.sleep(0.2)
        await until(lambda: made.offsets(0) == list(range(60)), what="all records, none skipped")
    assert lost == [0]


async def test_a_broker_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "crewmem", f"127.0.0.1:{free_port()}")
    embedder = HashingEmbedder()
    generation = Generation(name="g1", embedder="h", embedder_fingerprint="h", dimensions=8, partitions=1)
    owned = OwnedPartitions(
        generation=generation, log=open_log(settings), store=MemoryStore(), embedder=embedder, dead_letters=NoLetters(),
        keyring=plain_keyring(),
        summariser=None, health=Health(), limits=Limits(), checkpoint=no_checkpoint, on_failure=lambda name, error: None,
    )  # fmt: skip
    broker = open_broker(settings)
    await broker.start()
    try:
        with pytest.raises(LogUnavailable):
            await KafkaApp(owned, broker=broker, settings=settings).start()
    finally:
        await broker.stop()
