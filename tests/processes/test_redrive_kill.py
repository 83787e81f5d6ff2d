"""Dead letters come back once: an operator's redrive that is killed, and newer consumers that start at once or are killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.later_facts import COPY_OF
from crewmem_consumers.steps import COPIED
from crewmem_producers.codec import encode
from crewmem_producers.events import Event, EventRedriven
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.settings import StoreSettings
from processes.harness import PATIENCE_SECONDS, Stack, environment, exit_code, stack
from support.logged import remembered, remembered_record

pytestmark = pytest.mark.timeout(600)

SCRIPT = Path(__file__).with_name("redrive.py")
NEWER = 7
LETTERS = 12


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def made(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[Stack]:
    bootstrap = request.getfixturevalue("kafka") if request.param == "kafka" else None
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=bootstrap, partitions=3 if bootstrap else 1) as running:
        yield running


def newer(number: int) -> Record:
    """An event of a version that only a newer consumer reads."""
    event = remembered(number, session=f"s{number % 5}")
    body = event.body.model_copy(update={"schema_version": NEWER})
    return encode(Event(body=body, scope=event.scope, id=event.id, time=event.time, source="test"))


SAME_ON_BOTH = pytest.mark.parametrize(
    "made", ["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.slow])], indirect=True
)
IDS = {newer(number).headers[0][1].decode() for number in range(LETTERS)}


async def rejected(made: Stack) -> None:
    """An older consumer has made letters of every newer event, between others, and has ended."""
    await made.prepare()
    records = [remembered_record(100 + number, session=f"s{number % 5}") for number in range(LETTERS)]
    await made.publish([record for number in range(LETTERS) for record in (newer(number), records[number])])
    old = made.start(name="old")
    await made.caught_up()
    old.terminate()
    assert await exit_code(old) == 0, made.output()
    assert outcomes(made) == {id: ["dead_letter"] for id in IDS}


def outcomes(made: Stack) -> dict[str, list[str]]:
    reader = made.reader()
    return {id: [row.outcome.value for _, row in reader.ledger_of(id)] for id in IDS}


async def on_the_log(made: Stack) -> list[LoggedRecord]:
    return [record for records in (await made.everything()).values() for record in records]


async def copies(made: Stack) -> Counter[str | None]:
    """Letter -> how many copies of its record the log has."""
    return Counter(one.header(COPY_OF) for one in await on_the_log(made) if one.header(COPY_OF))


async def facts(made: Stack) -> int:
    return sum(one.header("ce_type") == EventRedriven.type for one in await on_the_log(made))


async def all_redriven(made: Stack) -> None:
    """Returns when the log says of each letter that it was redriven, and the ledger has all of it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await facts(made) < LETTERS:
            assert any(process.poll() is None for process in made.processes), made.output()
            await asyncio.sleep(0.2)
    await made.caught_up()


async def ended(made: Stack) -> None:
    for process in made.processes:
        if process.poll() is None:
            process.terminate()
            assert await exit_code(process) == 0, made.output()


async def operator(made: Stack, **spec: Any) -> int:
    """Redrives every letter in a process of its own; its exit code."""
    settings = {name: value for name, value in made.settings().items() if name in StoreSettings.model_fields}
    command = [sys.executable, str(SCRIPT), json.dumps({"settings": settings, **spec})]
    process = subprocess.Popen(command, env=environment())
    made.processes.append(process)
    return await exit_code(process)


async def killed_redrive(made: Stack, *, without: str | None = None) -> Counter[str | None]:
    guard = {"without": without} if without else {}
    await rejected(made)
    assert await operator(made, die=True, **guard) == -signal.SIGKILL
    assert await operator(made, **guard) == 0
    return await copies(made)


@SAME_ON_BOTH
async def test_an_operators_redrive_that_is_killed_and_run_again_appends_each_letter_once(made: Stack) -> None:
    assert set((await killed_redrive(made)).values()) == {1}
    made.start(name="new", knows=NEWER)
    await made.caught_up()
    await ended(made)
    found = await copies(made)
    assert (len(found), set(found.values())) == (LETTERS, {1}), "the newer consumer finds nothing left to do"
    assert outcomes(made) == {id: ["dead_letter", "stored"] for id in IDS}
    assert made.account().doubled == []


@pytest.mark.slow
@pytest.mark.parametrize("made", ["sqlite"], indirect=True)
async def test_control_a_redrive_that_does_not_look_appends_letters_twice(made: Stack) -> None:
    found = await killed_redrive(made, without="look")
    assert max(found.values()) > 1


@pytest.mark.parametrize("made", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
async def test_newer_consumers_that_start_at_once_redrive_each_letter_once_and_by_themselves(made: Stack) -> None:
    await rejected(made)
    for name in ("a", "b", "c"):
        made.start(name=name, knows=NEWER)
    await all_redriven(made)
    await ended(made)
    found = await copies(made)
    assert (len(found), set(found.values()), await facts(made)) == (LETTERS, {1}, LETTERS)
    assert outcomes(made) == {id: ["dead_letter", "stored"] for id in IDS}
    assert made.account().doubled == []
    before = len(await on_the_log(made))
    again = made.start(name="a", knows=NEWER)
    await made.publish([remembered_record(900)])
    await made.caught_up()
    again.terminate()
    assert await exit_code(again) == 0, made.output()
    assert len(await on_the_log(made)) == before + 1, "a restart redrives nothing again"


@SAME_ON_BOTH
async def test_a_newer_consumer_that_is_killed_between_copy_and_fact_leaves_the_rest_to_the_next(made: Stack) -> None:
    await rejected(made)
    killed = made.start(name="a", knows=NEWER, die_at=COPIED)
    assert await exit_code(killed) == -signal.SIGKILL, made.output()
    assert 0 < len(await copies(made)) <= LETTERS
    made.start(name="a", knows=NEWER)
    await all_redriven(made)
    await ended(made)
    found = await copies(made)
    assert (len(found), set(found.values())) == (LETTERS, {1})
    assert {tuple(said) for said in outcomes(made).values()} == {("dead_letter", "stored")}
