"""Real processes: a record that takes too much is a dead letter, and what comes after it goes on."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewmem_consumers.errors import WorkerUnavailable
from crewmem_consumers.prepare import Failed, InProcess, Outcome, Prepared, Work
from crewmem_consumers.rules import DEFAULT_RULES
from crewmem_consumers.worker_pool import TOO_COSTLY, WorkerPool
from crewmem_consumers.worker_process import Budget
from support import costly
from support.pipeline import Pipeline, kickoff, remember

SMALL = Budget(seconds=1, megabytes=200)
GOOD = "Acme ships robots"


def work(content: str, number: int = 1) -> Work:
    return Work(remember(content, number=number), DEFAULT_RULES)


@pytest.fixture
def new_pool() -> Iterator[Callable[..., WorkerPool]]:
    pools: list[WorkerPool] = []

    def new(budget: Budget = SMALL, *, place: str = costly.PLACE, wall_seconds: float = 60.0, most: int = 1) -> WorkerPool:
        pools.append(WorkerPool(budget, place=place, wall_seconds=wall_seconds, most=most))
        return pools[-1]

    yield new
    for pool in pools:
        pool.close()


def outcomes(pool: WorkerPool, *works: Work) -> list[Outcome]:
    return [outcome for outcome in pool.prepare(works) if outcome is not None]


def test_a_process_prepares_just_as_this_one_does(new_pool: Callable[..., WorkerPool]) -> None:
    works = [
        work("password: hunter2-x9Qz and the rest"),
        Work(kickoff("Acme costs $49. It has no API.", "Thought: no", number=2, recalled=["Acme costs $49."]), DEFAULT_RULES),
        work("last", 3),
    ]
    assert outcomes(new_pool(Budget(), place=""), *works) == [o for o in InProcess().prepare(works) if o is not None]


@pytest.mark.parametrize(
    ("content", "said", "wall"),
    [
        (costly.NEVER_ENDS, "more than 1 seconds of CPU time", 60.0),
        (costly.SLEEPS, "more than 2 seconds", 2.0),
        (costly.EATS_MEMORY, "more than 200 MB of memory", 60.0),
        (costly.CRASHES, "crashed", 60.0),
    ],
)
def test_what_takes_too_much_is_too_costly_and_the_others_are_prepared(
    new_pool: Callable[..., WorkerPool], content: str, said: str, wall: float
) -> None:
    found = outcomes(new_pool(wall_seconds=wall), work(GOOD), work(content, 2), work(GOOD, 3), work(GOOD, 4))
    assert [type(one) for one in found] == [Prepared, Failed, Prepared, Prepared]
    assert isinstance(found[1], Failed) and found[1].reason == TOO_COSTLY and said in found[1].detail


def test_a_process_that_is_killed_by_others_says_nothing_of_the_record(
    new_pool: Callable[..., WorkerPool], tmp_path: Path
) -> None:
    found = outcomes(new_pool(), work(GOOD), work(costly.DIES_ONCE + str(tmp_path / "died"), 2), work(GOOD, 3))
    assert [type(one) for one in found] == [Prepared] * 3 and (tmp_path / "died").exists()


def test_one_that_is_killed_again_and_again_is_an_outage_and_no_dead_letter(new_pool: Callable[..., WorkerPool]) -> None:
    with pytest.raises(WorkerUnavailable, match="killed again and again"):
        outcomes(new_pool(), work(costly.IS_KILLED))


def test_a_process_that_was_killed_while_idle_is_replaced(new_pool: Callable[..., WorkerPool]) -> None:
    pool = new_pool()
    outcomes(pool, work(GOOD))
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    assert len(outcomes(pool, work(GOOD), work(GOOD, 2))) == 2


def test_a_process_that_cannot_be_started_is_an_outage(
    new_pool: Callable[..., WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkerUnavailable, match="does not start"):
        outcomes(new_pool(place="no.such.module:work"), work(GOOD))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(WorkerUnavailable, match="cannot be started"):
        outcomes(new_pool(), work(GOOD))


def test_while_it_works_the_caller_can_stop_and_the_process_is_ended(new_pool: Callable[..., WorkerPool]) -> None:
    pool = new_pool(Budget(seconds=600))
    running = pool.prepare([work(costly.NEVER_ENDS)])
    assert next(running) is None
    running.close()  # type: ignore[attr-defined]
    assert pool.pids == [] and len(outcomes(pool, work(GOOD))) == 1


def test_two_callers_have_two_processes_and_more_wait(new_pool: Callable[..., WorkerPool]) -> None:
    pool = new_pool(most=2)
    done: list[int] = []
    works = [work(GOOD, number) for number in range(1, 50)]
    threads = [threading.Thread(target=lambda: done.append(len(outcomes(pool, *works)))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert done == [49] * 5 and 1 <= len(pool.pids) <= 2


@pytest.mark.parametrize("content", [GOOD, costly.NEVER_ENDS])
def test_a_process_does_not_outlive_a_consumer_that_is_killed(content: str, tmp_path: Path) -> None:
    program = f"""
        import os, signal, sys
        from crewmem_consumers.prepare import Work
        from crewmem_consumers.rules import DEFAULT_RULES
        from crewmem_consumers.worker_pool import WorkerPool
        from crewmem_consumers.worker_process import Budget
        from support import costly
        from support.pipeline import remember
        pool = WorkerPool(Budget(seconds=3), place=costly.PLACE)
        list(pool.prepare([Work(remember("ready", number=1), DEFAULT_RULES)]))
        print(pool.pids[0], flush=True)
        running = pool.prepare([Work(remember({content!r}, number=2), DEFAULT_RULES)])
        next(running)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, env=environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid = int(ended.stdout)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_a_record_that_is_too_costly_is_a_dead_letter_and_the_partition_goes_on(new_pool: Callable[..., WorkerPool]) -> None:
    pipeline = Pipeline(preparer=new_pool())
    pipeline.run(remember(GOOD, number=1), remember(costly.NEVER_ENDS, number=2), remember("Other ships boats", number=3))
    assert pipeline.outcomes() == ["stored", "dead_letter", "stored"]
    assert pipeline.ledger()[1].reason == TOO_COSTLY and len(pipeline.letters.sent) == 1
    assert dict(pipeline.letters.sent[0].headers)["crewmem-dlq-reason"] == b"too_costly"
