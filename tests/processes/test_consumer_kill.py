"""kill -9 of the consumer at every named step between "read from the log" and "position stored", on both logs.

The control without the merge is in `test_consumer_group`: one owner alone sees its own rows when it comes back, so it takes
two of them to double anything.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from crewmem_consumers.steps import DECODED, EMBEDDED, LEDGER_WRITTEN, REDACTED, SELECTED, STEPS, SUMMARISED
from crewmem_producers.codec import encode
from crewmem_producers.events import Event, MemoryForgotten, MemoryRemembered, SessionForgotten, SpanRef
from crewmem_producers.log import Record
from processes.harness import Stack, compare, exit_code, stack
from support.logged import content_of, remembered, remembered_record

SAME_ON_BOTH = (DECODED, SELECTED, REDACTED, SUMMARISED, EMBEDDED)
"""Between reading and deciding nothing is done that differs between the logs: on Kafka these take minutes and say little."""

BATCHES_BEFORE = 2
"""The process dies at its third batch, so that there is a position to come back to."""


def eventful_log(sessions: int = 3) -> list[Record]:
    """What makes every kind of effect: memories, repeats, keys that are replaced, forgetting, erasing, dead letters."""
    records = []
    for number in range(8):
        for session in range(sessions):
            records.append(remembered_record(number, session=f"s{session}"))
    records += [remembered_record(number, session="s0") for number in range(3)]  # the same ids again
    for number in range(6):
        keyed = MemoryRemembered(content=f"The price of plan{number % 2} is {40 + number} dollars.", key=f"price{number % 2}")
        records.append(encode(replace(remembered(100 + number, session="s1"), body=keyed)))
        records.append(remembered_record(200 + number, session="s1", content=content_of(number)))  # a repeat of a memory
    gone = MemoryForgotten(spans=[SpanRef(event_id=remembered(1, session="s2").id, span="content")])
    records.append(encode(_event(gone, like=remembered(300, session="s2"))))
    records += [Record(b"default/x", b"no event", ()), Record(None, None)]
    records.append(encode(_event(SessionForgotten(), like=remembered(301, session="s0"))))
    records += [remembered_record(400 + number, session=f"s{number % sessions}") for number in range(12)]
    return records


def _event(body: MemoryForgotten | SessionForgotten, *, like: Event) -> Event:
    return replace(like, body=body, time=like.time + timedelta(days=1))


@pytest.fixture
def sqlite(tmp_path: Path, namespace: str) -> Iterator[Stack]:
    with stack(tmp_path / "stack", namespace=namespace) as made:
        yield made


@pytest.fixture
def on_kafka(tmp_path: Path, namespace: str, kafka: str) -> Iterator[Stack]:
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=2) as made:
        yield made


async def crash_and_recover(stack: Stack, *, step: str, without: str | None = None) -> list[str]:
    """Kills a consumer at the step, lets a fresh one finish, stops that one with SIGTERM; what does not add up."""
    await stack.prepare()
    await stack.publish(eventful_log())
    guard = {"without": without} if without else {}
    killed = stack.start(die_at=step, times=BATCHES_BEFORE + 1, **guard)
    assert await exit_code(killed) == -signal.SIGKILL, stack.output()
    await stack.publish([remembered_record(number, session=f"s{number % 5}") for number in range(1000, 1020)])
    fresh = stack.start(**guard)
    await stack.caught_up()
    fresh.terminate()
    assert await exit_code(fresh) == 0, stack.output()
    return compare(stack.account(), await stack.clean())


@pytest.mark.parametrize("step", STEPS)
async def test_kill_9_at_each_step_loses_and_doubles_nothing_on_sqlite(sqlite: Stack, step: str) -> None:
    assert await crash_and_recover(sqlite, step=step) == []


@pytest.mark.kafka
@pytest.mark.parametrize("step", [pytest.param(step, marks=pytest.mark.slow if step in SAME_ON_BOTH else ()) for step in STEPS])
async def test_kill_9_at_each_step_loses_and_doubles_nothing_on_kafka(on_kafka: Stack, step: str) -> None:
    assert await crash_and_recover(on_kafka, step=step) == []


async def test_control_a_position_stored_before_its_rows_loses_them(sqlite: Stack) -> None:
    faults = await crash_and_recover(sqlite, step=LEDGER_WRITTEN, without="order")
    assert any(fault.startswith("lost:") for fault in faults)


@pytest.mark.kafka
async def test_control_reading_from_the_groups_commit_loses_what_was_only_read(on_kafka: Stack) -> None:
    faults = await crash_and_recover(on_kafka, step=LEDGER_WRITTEN, without="seek")
    assert any(fault.startswith(("lost:", "no ledger row")) for fault in faults)
