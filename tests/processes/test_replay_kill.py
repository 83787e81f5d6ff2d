"""kill -9 at every stage of a replay: of the command that builds by itself, and of a consumer that builds for it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.steps import GENERATION_SAVED, LEDGER_WRITTEN, NAME_CLAIMED, PLANNED, REPLAY, ROWS_MERGED, STEPS, WRITES
from crewmem_producers.connect import open_registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations, switch
from processes.harness import Account, Stack, compare, exit_code, stack
from processes.test_consumer_kill import eventful_log
from support.awaiting import until
from support.logged import remembered_record

ONCE = (PLANNED, NAME_CLAIMED, GENERATION_SAVED, switch.CAUGHT_UP, switch.ACTIVATED)
"""Reached once a replay; the others once a batch."""
IN_CI = (GENERATION_SAVED, ROWS_MERGED, switch.CAUGHT_UP, switch.ACTIVATED)
BATCHES_BEFORE = 2


@pytest.fixture(scope="module")
def consumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a generation answers, and no consumer runs."""
    folder = tmp_path_factory.mktemp("consumed") / "home"
    with stack(folder, namespace="crewmem") as made:
        asyncio.run(prepared(made))
    return folder


async def prepared(made: Stack) -> None:
    await made.prepare()
    await made.publish(eventful_log())
    consumer = made.start()
    await made.caught_up()
    consumer.terminate()
    assert await exit_code(consumer) == 0, made.output()


@pytest.fixture
def home(tmp_path: Path, consumed: Path) -> Iterator[Stack]:
    shutil.copytree(consumed, tmp_path / "home")
    with stack(tmp_path / "home", namespace="crewmem") as made:
        yield made


async def consumes(made: Stack, consumer: subprocess.Popen[bytes], generation: str = "g1") -> None:
    """Waits until the consumer has the right to write the generation, or its partitions."""
    said = f"consuming for {generation}"
    await until(lambda: said in made.said(consumer), what="the consumer consumes", seconds=120)


async def active(made: Stack) -> str:
    registry = open_registry(ConsumerSettings(**made.settings()))
    await registry.start()
    try:
        return generations.active(registry).name
    finally:
        await registry.close()


async def finished(made: Stack, *, generation: str = "g2", **how: Any) -> None:
    """Runs the command to its end; its generation answers, and holds what a clean pass makes of the log."""
    command = made.start(replay=True, **how)
    assert await exit_code(command) == 0, made.output()
    assert await active(made) == generation
    assert compare(made.account(generation), await made.clean()) == []


@pytest.mark.parametrize("step", [pytest.param(step, marks=[] if step in IN_CI else pytest.mark.slow) for step in REPLAY])
async def test_a_replay_that_was_killed_at_any_stage_goes_on_where_it_was(home: Stack, step: str) -> None:
    times = 1 if step in ONCE else BATCHES_BEFORE + 1
    killed = home.start(replay=True, die_at=step, times=times)
    assert await exit_code(killed) == -signal.SIGKILL, home.output()
    assert await active(home) == ("g2" if step == switch.ACTIVATED else "g1")
    begun = home.account("g2")
    assert len(begun.ledger) >= (BATCHES_BEFORE if step in STEPS else 0)
    await home.publish([remembered_record(number, session=f"s{number % 5}") for number in range(1000, 1010)])
    # A name that was claimed by one that died is never used.
    await finished(home, generation="g3" if step in (NAME_CLAIMED, switch.ACTIVATED) else "g2")


@pytest.mark.slow
async def test_two_that_are_started_at_once_build_one_generation_together(home: Stack) -> None:
    commands = [home.start(replay=True) for _ in range(2)]
    for command in commands:
        assert await exit_code(command) == 0, home.output()
    assert await active(home) == "g2"
    assert tables_of("g3", home) == []
    assert compare(home.account("g2"), await home.clean()) == []


async def test_the_control_that_stores_its_position_first_is_caught(home: Stack) -> None:
    killed = home.start(replay=True, die_at=LEDGER_WRITTEN, times=BATCHES_BEFORE + 1, without="order")
    assert await exit_code(killed) == -signal.SIGKILL, home.output()
    again = home.start(replay=True)
    assert await exit_code(again) == 0, home.output()
    assert any(fault.startswith("lost") for fault in compare(home.account("g2"), await home.clean()))


@pytest.mark.parametrize("step", [pytest.param(step, marks=[] if step == ROWS_MERGED else pytest.mark.slow) for step in WRITES])
async def test_a_consumer_that_is_killed_while_it_builds_is_stood_in_for(home: Stack, step: str) -> None:
    begun = home.start(replay=True, die_at=GENERATION_SAVED)
    assert await exit_code(begun) == -signal.SIGKILL, home.output()
    consumer = home.start(die_at=step, times=BATCHES_BEFORE + 1)
    await consumes(home, consumer, "g2")
    command = home.start(replay=True)
    assert await exit_code(consumer) == -signal.SIGKILL, home.output()
    assert await exit_code(command) == 0, home.output()
    assert await active(home) == "g2"
    assert compare(home.account("g2"), await home.clean()) == []


@pytest.mark.kafka
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", [pytest.param(step, marks=[] if step == ROWS_MERGED else pytest.mark.slow) for step in WRITES])
async def test_on_kafka_the_consumers_that_are_left_go_on(tmp_path: Path, namespace: str, kafka: str, step: str) -> None:
    """The one that dies is there alone at first, so that none but it can do the work at which it dies; should the command
    have come before it, it still owns the partitions of g1, and what is published meanwhile brings it to that step."""
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=2) as made:
        await prepared(made)
        moving = {"group_instance_id": None}  # a static member that died keeps its partitions for half a minute
        dies = made.start(die_at=step, times=BATCHES_BEFORE + 1, settings=moving)
        await consumes(made, dies)
        command = made.start(replay=True)
        stays = made.start(settings=moving)
        await made.publish_until_dead(dies)
        assert await exit_code(command) == 0, made.output()
        await made.caught_up("g2")
        await consumes(made, stays)
        stays.terminate()
        assert await exit_code(stays) == 0, made.output()
        assert compare(made.account("g2"), await made.clean()) == []


@pytest.mark.parametrize("step", [GENERATION_SAVED, ROWS_MERGED, pytest.param(switch.CAUGHT_UP, marks=pytest.mark.slow)])
async def test_a_command_that_is_killed_leaves_its_work_to_the_consumer_and_another_activates(home: Stack, step: str) -> None:
    consumer = home.start()
    await consumes(home, consumer)
    killed = home.start(replay=True, die_at=step, times=1 if step in ONCE else BATCHES_BEFORE + 1)
    assert await exit_code(killed) == -signal.SIGKILL, home.output()
    await consumes(home, consumer, "g2")
    await home.caught_up("g2")
    assert await active(home) == "g1"
    await finished(home)
    consumer.terminate()
    assert await exit_code(consumer) == 0, home.output()


async def test_a_generation_that_is_dropped_while_it_is_written_leaves_nothing(home: Stack) -> None:
    """The consumer is held at a write, and goes on when the tables are gone."""
    settings = ConsumerSettings(**home.settings())
    paused = home.start(pause_at=ROWS_MERGED, times=BATCHES_BEFORE + 1)
    registry = open_registry(settings)
    await registry.start()
    try:
        first = generations.active(registry)
        await generations.save(registry, replace(first, name="g2", answered=False))
        await stopped(paused.pid)
        store = home.store()
        await switch.drop("g2", registry=registry, store=store, grace_seconds=0)
        assert tables_of("g2", home) == []
        paused.send_signal(signal.SIGCONT)
        await home.publish([remembered_record(number) for number in range(1000, 1010)])
        await home.caught_up()
        paused.terminate()
        assert await exit_code(paused) == 0, home.output()
        fresh = home.start()
        await consumes(home, fresh)  # SIGTERM kills a process that has not come so far
        await removed(home)
        fresh.terminate()
        assert await exit_code(fresh) == 0, home.output()
    finally:
        await registry.close()
    assert home.account("g2") == Account()
    assert compare(home.account(), await home.clean()) == []


def tables_of(generation: str, home: Stack) -> list[str]:
    return sorted(path.name for path in (home.home / "store").glob(f"*_{generation}_*"))


async def removed(home: Stack) -> None:
    """Waits until nothing is left of g2, and it stays so for longer than a consumer takes to look."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 120
    quiet_since = loop.time()
    while loop.time() - quiet_since < switch.GRACE_SECONDS + 3:
        assert loop.time() < deadline, f"{tables_of('g2', home)} came back\n{home.output()}"
        if tables_of("g2", home):
            quiet_since = loop.time()
        await asyncio.sleep(0.1)


async def stopped(pid: int) -> None:
    """Waits until the process has stopped itself."""

    def state() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    await until(lambda: state() == "T", what="it comes to that step", seconds=120)
