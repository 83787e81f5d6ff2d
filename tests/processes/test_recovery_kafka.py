"""A topic that is not what it was: the consumers refuse with a remedy that works, whether they run or are started then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from crewmem_producers.log import Record
from crewmem_producers.topics import events_topic
from processes.harness import Stack, compare, exit_code, stack
from processes.test_consumer_kill import eventful_log
from processes.test_recovery import MORE, OTHERS, consumed, misfits

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

REFILLS = {"wiped": [], "shorter": eventful_log()[:30], "other": OTHERS}
"""What the topic holds when it was deleted and made anew: nothing, the beginning of what it held, or more that is not it."""


@pytest.fixture
def made(tmp_path: Path, namespace: str, kafka: str) -> Iterator[Stack]:
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=2) as running:
        yield running


async def make_anew(made: Stack, records: Sequence[Record]) -> None:
    """Deletes the topic of the events, makes it again and fills it."""
    topic = events_topic(made.namespace)
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        async with asyncio.timeout(60):
            while topic in await admin.list_topics():
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
