"""Several consumers of one group: partitions move, members die, freeze and come back, and the account closes."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from crewmem_consumers.steps import DECIDED
from crewmem_producers.codec import encode
from crewmem_producers.events import Body, MemoryForgotten, SessionForgotten, SpanRef
from crewmem_producers.log import Record
from processes.harness import ROW_FIELDS, Stack, compare, exit_code, stack
from processes.test_consumer_kill import eventful_log
from support.awaiting import until
from support.logged import remembered, remembered_record

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SEED = 20261123


@pytest.fixture
def group(tmp_path: Path, namespace: str, kafka: str) -> Iterator[Stack]:
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=6) as made:
        yield made


def some_records(start: int, count: int) -> list[Record]:
    return [remembered_record(number, session=f"s{number % 17}") for number in range(start, start + count)]


async def finish(group: Stack) -> list[str]:
    """Lets the members catch up, stops them with SIGTERM; what does not add up."""
    await group.caught_up()
    for process in group.processes:
        if process.poll() is None:
            # SIGTERM kills a process that has not come so far: one that was started last may have nothing left to do.
            await until(lambda process=process: "consuming for g1" in group.said(process), what="it has joined", seconds=240)
            process.terminate()
            assert await exit_code(process) == 0, group.output()
    return compare(group.account(), await group.clean())


async def test_three_consumers_that_join_leave_and_are_killed_lose_and_double_nothing(group: Stack) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    await group.prepare()
    await group.publish(eventful_log(sessions=12))
    members = {name: group.start(name=name) for name in ("a", "b", "c")}
    for turn in range(6):
        await group.publish(some_records(1000 * (turn + 1), 60))
        await asyncio.sleep(chance.uniform(0.5, 3.0))
        name = chance.choice(sorted(members))
        members[name].send_signal(signal.SIGKILL if chance.random() < 0.7 else signal.SIGTERM)
        await exit_code(members[name])
        members[name] = group.start(name=name)
    assert await finish(group) == []


async def test_a_member_without_static_membership_is_replaced_when_it_is_killed(group: Stack) -> None:
    await group.prepare()
    await group.publish(some_records(0, 100))
    dynamic = {"settings": {"group_instance_id": None}}
    killed = group.start(name="a", **dynamic)
    other = group.start(name="b", **dynamic)
    await group.caught_up()
    await group.publish(some_records(1000, 100))
    killed.kill()
    await exit_code(killed)
    await group.publish(some_records(2000, 100))
    assert await finish(group) == []
    assert other.returncode == 0


async def frozen_owner(group: Stack, *, without: str | None = None, meanwhile: Sequence[Record] = ()) -> list[str]:
    """A member freezes between its decision and its write; the other takes over and finishes, what comes `meanwhile` too; the
    first wakes up and writes."""
    guard = {"without": without} if without else {}
    dynamic = {"settings": {"group_instance_id": None, "batch_rows": 40}}
    await group.prepare()
    await group.publish(eventful_log(sessions=12))
    frozen = group.start(name="a", pause_at=DECIDED, times=2, **guard, **dynamic)
    await until(lambda: _is_stopped(frozen.pid), what="the first member froze", seconds=120)
    group.start(name="b", **guard, **dynamic)
    if meanwhile:
        await group.publish(meanwhile)
    await group.caught_up()
    frozen.send_signal(signal.SIGCONT)
    await group.publish(some_records(5000, 40))
    await asyncio.sleep(2)  # the late write has nothing to be waited for: a control without the guard shows that it comes
    return await finish(group)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] == "T"


async def test_an_owner_that_wakes_up_late_repeats_what_changes_nothing(group: Stack) -> None:
    assert await frozen_owner(group) == []


def forgets() -> list[Record]:
    """Of half the sessions every memory by its id, the other half as sessions: the frozen member has some of both in hand."""
    found = []
    for session in (f"s{number}" for number in range(12)):
        like = remembered(500, session=session)
        ids = [remembered(number, session=session).id for number in range(8)]
        body: Body = MemoryForgotten(spans=[SpanRef(event_id=id, span="content") for id in ids])
        found.append(encode(replace(like, body=SessionForgotten() if session > "s4" else body)))
    return found


async def test_an_owner_that_wakes_up_after_a_forget_brings_nothing_back(group: Stack) -> None:
    assert await frozen_owner(group, meanwhile=forgets()) == []
    rows = [row for row in group.account().rows.values() if row[ROW_FIELDS.index("text")] is not None]
    assert not any("Fact3a" in row[ROW_FIELDS.index("text")] for row in rows)


async def test_control_without_the_merge_an_owner_that_wakes_up_late_doubles_rows(group: Stack) -> None:
    faults = await frozen_owner(group, without="merge")
    assert any(fault.startswith("doubled:") for fault in faults)


async def test_whatever_lies_on_the_topic_no_good_record_beside_it_is_lost(group: Stack) -> None:
    bad = [
        Record(None, None, partition=0),
        Record(None, b"", partition=1),
        Record(b"\xff\xfe", b"\x00" * 5_000_000, (("ce_id", b"\xff\xfe"),)),
        Record(b"default/x", b"{}", (("ce_type", b"crewmem.unknown"), ("ce_id", b"1"), ("ce_time", b"2026-01-01T00:00:00Z"))),
    ]
    await group.prepare()
    records = some_records(0, 40)
    await group.publish([record for number in range(40) for record in (records[number], bad[number % len(bad)])])
    await nameless_header(group)
    await group.publish(some_records(100, 40))
    group.start()
    assert await finish(group) == []
    assert sum(outcome == "stored" for outcome in group.account().ledger.values()) == 80
    assert sum(outcome == "dead_letter" for outcome in group.account().ledger.values()) == 41


async def nameless_header(group: Stack) -> None:
    """Appends a record with a header name that is not UTF-8; only a producer in plain Python can be made to write one."""
    code = (
        "import asyncio, sys\n"
        "from aiokafka import AIOKafkaProducer\n"
        "class Name(str):\n"
        "    def encode(self, *_): return b'\\xff\\xfe'\n"
        "async def main():\n"
        "    producer = AIOKafkaProducer(bootstrap_servers=sys.argv[1])\n"
        "    await producer.start()\n"
        "    await producer.send_and_wait(sys.argv[2], b'{}', key=b'k', headers=[(Name('x'), b'y')])\n"
        "    await producer.stop()\n"
        "asyncio.run(main())\n"
    )
    await run_python(code, str(group.bootstrap), f"{group.namespace}.events.v1", AIOKAFKA_NO_EXTENSIONS="1")


async def run_python(code: str, *arguments: str, **environment: str) -> None:
    import os
    import sys

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, env={**os.environ, **environment})
    assert await process.wait() == 0
