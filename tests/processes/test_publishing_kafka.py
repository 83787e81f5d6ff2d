"""Publishing to Apache Kafka from processes that end, are killed, or fork."""

import asyncio
import signal
from pathlib import Path

import pytest
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.events import MemoryRemembered
from crewmem_producers.settings import CrewSettings, load
from crewmem_producers.topics import ensure_topics
from support import programs

pytestmark = pytest.mark.kafka

PUBLISHER = """
import os, sys, time, signal
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, load
from support.events import remembered
publisher = Publisher(load(CrewSettings))

def say(content, session="s"):
    return publisher.publish(remembered(content, session=session))
"""


@pytest.fixture
def settings(kafka: str, namespace: str) -> CrewSettings:
    settings = load(CrewSettings, kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=2, source="host-1")
    asyncio.run(ensure_topics(settings))
    return settings


def environment(settings: CrewSettings, home: Path) -> dict[str, str]:
    kafka = {"kafka_bootstrap": settings.kafka_bootstrap or "", "namespace": settings.namespace, "source": "host-1"}
    return {"home": str(home), "flush_seconds": "50", **kafka}


def on_the_log(settings: CrewSettings) -> list[str]:
    """Contents on the log, repeats left out; in order within a session."""

    async def read() -> list[str]:
        log = open_log(settings)
        await log.start()
        try:
            found: dict[str, str] = {}
            for partition, end in (await log.end()).items():
                offset = 0
                while offset < end:
                    for record in await log.read(partition, offset):
                        event = decode(record)
                        assert isinstance(event.body, MemoryRemembered)
                        found.setdefault(event.id, event.body.content)
                        offset = record.offset + 1
            return list(found.values())
        finally:
            await log.close()

    return asyncio.run(read())


def test_a_process_that_ends_right_after_publishing_has_delivered_and_reported(settings: CrewSettings, tmp_path: Path) -> None:
    ended = programs.run(PUBLISHER + "say('last words')", **environment(settings, tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert on_the_log(settings) == ["last words"]

    async def reports() -> list[str]:
        registry = open_registry(settings)
        await registry.start()
        try:
            return list(registry.items("producer/"))
        finally:
            await registry.close()

    assert asyncio.run(reports()) == ["producer/host-1"]


def test_what_a_killed_process_left_is_delivered_by_the_next(settings: CrewSettings, tmp_path: Path) -> None:
    code = """
for number in range(300):
    say(str(number))
    if number == 250:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = programs.run(PUBLISHER + code, **environment(settings, tmp_path))
    assert killed.returncode == -signal.SIGKILL
    ended = programs.run(PUBLISHER + "print(publisher.flush(50))", **environment(settings, tmp_path))
    assert ended.stdout.strip() == "True", ended.stderr
    assert on_the_log(settings) == [str(number) for number in range(251)]


def test_forked_children_deliver_for_themselves(settings: CrewSettings, tmp_path: Path) -> None:
    code = """
say("parent").token(50)
children = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if say(f"child {child}").token(50) else 1)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
say("parent again").token(50)
"""
    ended = programs.run(PUBLISHER + code, **environment(settings, tmp_path))
    assert ended.returncode == 0, ended.stderr
    found = on_the_log(settings)
    assert sorted(found) == ["child 0", "child 1", "parent", "parent again"]
    assert found[0] == "parent" and found[-1] == "parent again"
