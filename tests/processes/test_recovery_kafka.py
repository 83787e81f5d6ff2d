"""A topic that is not what it was: the consumers refuse with a remedy that works, whether they run or are started then."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from crewmem_producers.log import Record
from crewmem_producers.topics import dead_letter_topic, events_topic, registry_topic
from processes.harness import Stack, compare, exit_code, stack
from processes.test_consumer_kill import eventful_log
from processes.test_consumer_outage import health_says
from processes.test_recovery import MORE, OTHERS, consumed, misfits
from support.kafka import Broker, free_port

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

REFILLS = {"wiped": [], "shorter": eventful_log()[:30], "other": OTHERS}
"""What the topic holds when it was deleted and made anew: nothing, the beginning of what it held, or more that is not it."""


@pytest.fixture
def made(tmp_path: Path, namespace: str, kafka: str) -> Iterator[Stack]:
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=2) as running:
        yield running


async def make_anew(made: Stack, records: Sequence[Record], *, everything: bool = False) -> None:
    """Deletes the topic of the events, or all three, makes it again and fills it."""
    gone = {events_topic(made.namespace)}
    if everything:
        gone |= {dead_letter_topic(made.namespace), registry_topic(made.namespace)}
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(sorted(gone))
        async with asyncio.timeout(60):
            while gone.intersection(await admin.list_topics()):
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
    await made.prepare()
    await made.publish(records)


async def the_remedy_works(made: Stack) -> None:
    """What `crewmem replay` builds is what a clean pass makes of the topic as it is, and consumers go on from there."""
    replay = made.start(replay=True)
    assert await exit_code(replay) == 0, made.output()
    assert compare(made.account("g2"), await made.clean()) == []
    await made.publish(MORE)
    going_on = made.start()
    await made.caught_up("g2")
    going_on.terminate()
    assert await exit_code(going_on) == 0, made.output()
    assert compare(made.account("g2"), await made.clean()) == []
    assert await misfits(made) == []


@pytest.mark.parametrize("refill", ["other", *(pytest.param(name, marks=pytest.mark.slow) for name in ("wiped", "shorter"))])
async def test_a_topic_that_is_another_one_is_refused_and_the_remedy_works(made: Stack, refill: str) -> None:
    await made.prepare()
    await made.publish(eventful_log())
    await consumed(made)
    await make_anew(made, REFILLS[refill])
    refused = made.start()
    assert await exit_code(refused) not in (0, None)
    assert "LogMismatch" in made.said(refused) and "`crewmem replay` builds" in made.said(refused)
    await the_remedy_works(made)


async def test_a_replay_over_a_topic_that_lost_its_start_is_refused_until_the_loss_is_accepted(made: Stack) -> None:
    await made.prepare()
    await made.publish(eventful_log())
    await consumed(made)
    before = made.account("g1")
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(events_topic(made.namespace), 0): RecordsToDelete(5)})
    finally:
        await admin.close()
    refused = made.start(replay=True)
    assert await exit_code(refused) not in (0, None)
    assert "LogShortened" in made.said(refused) and "offsets 0 to 4 of partition 0" in made.said(refused)
    assert compare(made.account("g1"), before) == []
    accepted = made.start(replay=True, accept_loss=True)
    assert await exit_code(accepted) == 0, made.output()
    assert compare(made.account("g2"), await made.clean()) == []


@pytest.mark.slow
@pytest.mark.parametrize("refill", REFILLS)
async def test_a_consumer_that_runs_when_its_topic_becomes_another_one_ends_with_the_remedy(made: Stack, refill: str) -> None:
    await made.prepare()
    await made.publish(eventful_log())
    running = made.start()
    await made.caught_up()
    await make_anew(made, REFILLS[refill])
    assert await exit_code(running) not in (0, None)
    assert "LogMismatch" in made.said(running) and "`crewmem replay`" in made.said(running)
    await the_remedy_works(made)


@pytest.mark.slow
async def test_a_broker_that_lost_the_registry_too_is_built_from_anew(made: Stack) -> None:
    await made.prepare()
    await made.publish(eventful_log())
    await consumed(made)
    await make_anew(made, OTHERS, everything=True)
    refused = made.start()
    assert await exit_code(refused) not in (0, None)
    assert "LogMismatch" in made.said(refused) and "`crewmem replay` builds" in made.said(refused)
    await the_remedy_works(made)


@pytest.mark.slow
async def test_a_broker_that_comes_back_with_an_older_disk_and_is_written_to_is_not_read_on(
    tmp_path: Path, namespace: str, new_broker: Callable[..., Broker]
) -> None:
    """The consumer runs all the while; what it had read last is lost, and other records lie where it would read on."""
    broker, port = new_broker(), free_port()
    broker.start()
    more = {"consumer_host": "127.0.0.1", "consumer_port": port}
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=broker.bootstrap, partitions=2, more=more) as made:
        await made.prepare()
        await made.publish(eventful_log())
        await consumed(made)
        broker.stop()
        shutil.copytree(broker.folder / "data", tmp_path / "older")
        broker.start()
        await made.publish(MORE)
        running = made.start(serve=True)
        await made.caught_up()
        broker.kill()
        await health_says(port, "LogUnavailable", made=made)
        shutil.rmtree(broker.folder / "data")
        shutil.copytree(tmp_path / "older", broker.folder / "data")
        broker.start()
        await made.publish(OTHERS)
        assert await exit_code(running) not in (0, None)
        assert "LogMismatch" in made.said(running) and "`crewmem replay`" in made.said(running)
        await the_remedy_works(made)
