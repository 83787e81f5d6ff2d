"""Invariant 5 on Apache Kafka: one consumer, two and three, one of them killed, and the same log in SQLite give one digest."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.steps import ROWS_MERGED
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log
from crewmem_producers.log import Record
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.digest import Digest, digest
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.lance import LanceStore
from processes.harness import Stack, compare, exit_code, stack
from processes.test_recovery import misfits
from support.awaiting import until
from support.histories import history
from support.logged import remembered_record

pytestmark = pytest.mark.timeout(600)

PARTITIONS = 3
MOVING = {"group_instance_id": None}
"""A static member that died would keep its partitions for half a minute."""


def events(seed: int) -> list[Record]:
    """Every kind of event, over sessions of every partition."""
    records = [encode(event) for event in history(random.Random(seed))]
    return records + [remembered_record(number % 40, session=f"s{number % 12}") for number in range(120)]


async def in_sqlite(made: Stack, folder: Path) -> Digest:
    """The digest of the same records, copied partition by partition, by a consumer that nothing disturbs."""
    settings = ConsumerSettings(home=folder, namespace=made.namespace, batch_wait_ms=0)
    log, store, stop = open_log(settings), LanceStore(settings.store_uri), asyncio.Event()
    await log.start()
    copied = 0
    for logged in (await made.everything()).values():
        copied += len(await log.append([Record(one.key, one.value, one.headers) for one in logged]))
    store.open(namespace=settings.namespace)
    consuming = asyncio.create_task(
        run(settings, stop=stop, log=log, store=store, embedder=HashingEmbedder(), health=Health())
    )  # fmt: skip
    try:
        await until(
            lambda: consuming.done() or store.reader("g1").last_offset(0) == copied - 1, what="all is consumed", seconds=120
        )
        return digest(store.reader("g1"), partitions=1)
    finally:
        stop.set()
        await consuming
        store.close()
        await log.close()


async def assert_as_in_sqlite(made: Stack, folder: Path) -> None:
    await made.caught_up()
    found = digest(made.reader(), partitions=PARTITIONS)
    assert found.rows > 50
    assert found == await in_sqlite(made, folder)
    assert compare(made.account(), await made.clean()) == []
    assert await misfits(made) == []


@pytest.mark.kafka
async def test_one_consumer_two_and_three_and_one_that_is_killed_decide_as_one_does_in_sqlite(
    tmp_path: Path, namespace: str, kafka: str
) -> None:
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=PARTITIONS) as made:
        await made.prepare()
        await made.publish(events(1))
        first = made.start(settings=MOVING)
        await assert_as_in_sqlite(made, tmp_path / "one")

        second = made.start(settings=MOVING, die_at=ROWS_MERGED, times=3)
        await made.publish(events(2))
        await made.publish_until_dead(second)
        await assert_as_in_sqlite(made, tmp_path / "two")

        others = [made.start(settings=MOVING) for _ in range(2)]
        for other in others:
            await until(lambda other=other: "consuming for g1" in made.said(other), what="it has joined", seconds=120)
        await made.publish(events(3))
        others[0].send_signal(signal.SIGKILL)
        await assert_as_in_sqlite(made, tmp_path / "three")
        for process in (first, others[1]):
            process.terminate()
            assert await exit_code(process) == 0, made.output()


async def test_control_a_log_with_one_event_less_has_another_digest(tmp_path: Path, namespace: str) -> None:
    """So that equal digests say something."""
    with stack(tmp_path / "stack", namespace=namespace) as made:
        await made.prepare()
        await made.publish(events(1))
        whole = await in_sqlite(made, tmp_path / "whole")
        await made.publish([remembered_record(999)])
        assert await in_sqlite(made, tmp_path / "more") != whole
