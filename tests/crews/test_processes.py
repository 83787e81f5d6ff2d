"""Real processes: a service that is killed under a running program, crews that exit at once, workers that are forked."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewai import Agent, Crew, Task
from crewmem import Memstore
from crewmem.offline_llm import OfflineLLM
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics
from support.fake_service import FakeService
from support.live import LiveProcess, live_service
from support.stack import free_port
from support.waiting import until

EXAMPLES = Path(__file__).resolve().parents[2] / "crews" / "examples"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[LiveProcess]:
    """A whole service in a process of its own, running."""
    running = LiveProcess(tmp_path / "service", free_port())
    running.start()
    yield running
    running.kill()


def research(
    ms: Memstore, project: str, goal: str, *, before_recall: Callable[[], None], before_remember: Callable[[], None]
) -> str:
    """What a program does that uses the client by hand; gives what went into the backstory, and the crew's result."""
    before_recall()
    known = ms.recall(goal, session=project)
    notes = "\n".join(f"- {m['content']}" for m in known)
    researcher = Agent(role="Researcher", goal=goal, backstory=f"Known:\n{notes or 'nothing'}", llm=OfflineLLM())
    task = Task(
        description=f"Find out about {goal}\n- Acme charges 49 dollars per seat.", agent=researcher, expected_output="Facts"
    )
    result = Crew(agents=[researcher], tasks=[task]).kickoff()
    before_remember()
    ms.remember(f"Done for '{goal[:80]}': {str(result)[:300]}", session=project)
    return str(result)


@pytest.mark.parametrize("when", ["before_recall", "before_remember"])
def test_a_program_runs_to_its_last_line_when_the_service_is_killed_and_its_memory_arrives_later(
    when: str, process: LiveProcess
) -> None:
    steps = {name: (process.kill if name == when else lambda: None) for name in ("before_recall", "before_remember")}
    ms = Memstore(api_key=process.live.api_key, base_url=process.live.base_url)
    assert "Acme charges 49 dollars" in research(ms, "alpha", "seat prices", **steps)
    process.start()
    until(lambda: ms.recall("seat prices of Acme", session="alpha"))
    (found,) = ms.recall("seat prices of Acme", session="alpha")
    assert found["content"].startswith("Done for 'seat prices': Findings") and 0 < found["score"] <= 1


def test_what_a_program_remembered_in_an_outage_is_sent_by_the_next_process_if_it_was_killed(
    process: LiveProcess, tmp_path: Path
) -> None:
    process.kill()
    environment = os.environ | process.live.environment() | {"CREWMEM_HOME": str(tmp_path / "home")}
    code = (
        "import os, crewmem; crewmem.Memstore().remember('Acme charges 49 dollars', session='alpha'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL).returncode == -9
    process.start()
    ms = Memstore(api_key=process.live.api_key, base_url=process.live.base_url, home=tmp_path / "home")
    ms.remember("something else", session="beta")
    code = "import crewmem; crewmem.Publisher(crewmem.Memstore().settings).flush(60)"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert [m["content"] for m in ms.recall("what does Acme charge", session="alpha")] == ["Acme charges 49 dollars"]


def in_a_process(crew: str, home: Path, settings: dict[str, str]) -> str:
    """What the crew of example 07 prints, in a process that exits right after its kickoff; then its home is deleted."""
    environment = os.environ | settings | {"CREWAI_DISABLE_TELEMETRY": "true", "CREWMEM_HOME": str(home)}
    command = [sys.executable, str(EXAMPLES / "07_hand_off_installed.py"), crew]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(home)
    return done.stdout


def test_a_crew_that_exits_right_after_its_kickoff_has_published(process: LiveProcess, tmp_path: Path) -> None:
    in_a_process("research", tmp_path / "first", process.live.environment())
    assert "49 dollars per seat" in in_a_process("strategy", tmp_path / "second", process.live.environment())


@pytest.mark.kafka
def test_a_crew_that_publishes_to_kafka_and_exits_has_published(kafka: str, namespace: str, tmp_path: Path) -> None:
    broker = {"kafka_bootstrap": kafka, "namespace": namespace}
    asyncio.run(ensure_topics(KafkaSettings(**broker, kafka_partitions=3)))
    with live_service(tmp_path / "service", **broker) as live:
        over_kafka = live.environment() | {"CREWMEM_KAFKA_BOOTSTRAP": kafka, "CREWMEM_NAMESPACE": namespace}
        in_a_process("research", tmp_path / "first", over_kafka)
        assert "49 dollars per seat" in in_a_process("strategy", tmp_path / "second", live.environment())


IDLE_AT_THE_FORK = """
import os, threading
import crewmem
from crewai.events.event_bus import crewai_event_bus as bus
from support.crews import ScriptedLLM, two_agent_crew

def kick_off(topic):
    two_agent_crew(ScriptedLLM(f"done for {topic}")).kickoff({"topic": topic})

crewmem.install(session="s")
kick_off("parent")
together = threading.Barrier(8)
for waiting in [bus._sync_executor.submit(together.wait) for _ in range(8)]:
    waiting.result()  # eight threads of CrewAI's event bus are idle now
pid = os.fork()
if not pid:
    kick_off("child")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_forked_kickoff_does_not_wait_for_threads_that_only_its_parent_has(service: FakeService) -> None:
    """CrewAI's event bus would: its pool counts idle threads that a child does not inherit."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", IDLE_AT_THE_FORK], env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    assert "done for parent" in {event["raw"] for event in service.kickoffs()}


FORKING = """
import multiprocessing, sys
import crewmem
from support.crews import ScriptedLLM, two_agent_crew

def kick_off(topic):
    two_agent_crew(ScriptedLLM(f"done for {topic}")).kickoff({"topic": topic})

crewmem.install(session="s")
if sys.argv[1:] == ["used"]:
    kick_off("parent before")
context = multiprocessing.get_context("fork")
workers = [context.Process(target=kick_off, args=(f"worker {n}",)) for n in range(2)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join(100)
kick_off("parent after")
sys.exit(0 if [worker.exitcode for worker in workers] == [0, 0] else "a worker did not end well")
"""


@pytest.mark.parametrize("used", [False, True])
def test_forked_workers_publish_whether_their_parent_has_or_not(used: bool, service: FakeService) -> None:
    command = [sys.executable, "-c", FORKING, *(["used"] * used)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    expected = ["done for parent after", *(["done for parent before"] * used), "done for worker 0", "done for worker 1"]
    assert sorted(event["raw"] for event in service.kickoffs()) == expected
    assert len(service.recalls()) == len(expected)
