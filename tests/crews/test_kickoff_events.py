"""What is published of a kickoff, whatever kind of crew it was."""

from __future__ import annotations

import asyncio
from typing import Any

import crewmem
import pytest
from crewai import Agent, Crew, Process, Task
from crewai.tasks.conditional_task import ConditionalTask
from crewmem.usage import usage_since, usage_so_far
from pydantic import BaseModel, Field
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import FakeService, memory


class Price(BaseModel):
    name: str
    dollars: int


class Thing:
    def __str__(self) -> str:
        return "a thing"


class Odd(Price):
    """A model with what JSON does not know."""

    by_pair: dict[tuple[str, str], int] = {("a", "b"): 1}
    thing: Any = Field(default_factory=Thing)


def agent(llm: ScriptedLLM, role: str = "Analyst", **options: Any) -> Agent:
    return Agent(role=role, goal="g", backstory="b", llm=llm, max_retry_limit=0, **options)


def test_structured_output_is_published_as_json(installed: FakeService) -> None:
    analyst = agent(ScriptedLLM('{"name": "Acme", "dollars": 49}'))
    task = Task(description="d", expected_output="e", agent=analyst, output_pydantic=Price)
    Crew(agents=[analyst], tasks=[task]).kickoff()
    (event,) = installed.kickoffs()
    assert event["json"] == event["tasks"][0]["json"] == {"name": "Acme", "dollars": 49}


def test_tasks_that_run_at_once_are_published_in_the_crews_order(installed: FakeService) -> None:
    installed.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM(lambda prompt: "one" if "first" in prompt.split("Current Task:")[1][:20] else "other")
    analyst, writer = agent(llm), agent(llm, "Writer")
    tasks = [
        Task(description="first", expected_output="e", agent=analyst, async_execution=True),
        Task(description="second", expected_output="e", agent=writer, async_execution=True),
        Task(description="last", expected_output="e", agent=writer),
    ]
    for kickoff in (lambda crew: crew.kickoff(), lambda crew: asyncio.run(crew.akickoff())):
        kickoff(Crew(agents=[analyst, writer], tasks=tasks))
    assert [[(t["index"], t["raw"]) for t in event["tasks"]] for event in installed.kickoffs()] == [
        [(0, "one"), (1, "other"), (2, "other")]
    ] * 2
    assert len(installed.recalls()) == 2
    assert all("Acme has no API docs" in prompt for prompt in llm.prompts)


def test_a_skipped_conditional_task_puts_nothing_out(installed: FakeService) -> None:
    analyst = agent(ScriptedLLM("done"))
    tasks = [
        Task(description="first", expected_output="e", agent=analyst),
        ConditionalTask(description="maybe", expected_output="e", agent=analyst, condition=lambda output: False),
        Task(description="last", expected_output="e", agent=analyst),
    ]
    Crew(agents=[analyst], tasks=tasks).kickoff()
    (event,) = installed.kickoffs()
    assert [(task["index"], task["raw"]) for task in event["tasks"]] == [(0, "done"), (1, ""), (2, "done")]


def test_a_hierarchical_crew_has_memory_and_is_published(installed: FakeService) -> None:
    installed.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM("Thought: I know.\nFinal Answer: managed")
    worker = agent(llm)
    task = Task(description="d", expected_output="e")
    Crew(agents=[worker], tasks=[task], process=Process.hierarchical, manager_llm=llm).kickoff()
    (event,) = installed.kickoffs()
    assert event["tasks"][0]["agent_role"] == "Crew Manager"
    assert llm.prompts and all("Acme has no API docs" in prompt for prompt in llm.prompts)


def test_a_guardrail_that_refuses_is_a_failure_of_its_task(installed: FakeService) -> None:
    analyst = agent(ScriptedLLM("done"))
    task = Task(
        description="d",
        expected_output="e",
        agent=analyst,
        guardrail=lambda output: (False, "too short"),
        guardrail_max_retries=0,
    )
    with pytest.raises(Exception, match="too short"):
        Crew(agents=[analyst], tasks=[task]).kickoff()
    (event,) = installed.kickoffs()
    assert event["type"] == "crewmem.kickoff.failed" and event["error"]["task_index"] == 0
    assert "too short" in event["error"]["message"]


def test_the_whole_identity_of_a_task_survives_its_inputs(installed: FakeService) -> None:
    for topic in ("prices", "docs"):
        two_agent_crew(ScriptedLLM()).kickoff({"topic": topic})
    first, second = installed.kickoffs()
    assert first["crew_key"] == second["crew_key"] and first["execution_id"] != second["execution_id"]
    assert [task["key"] for task in first["tasks"]] == [task["key"] for task in second["tasks"]]


def test_what_was_recalled_is_published_as_it_was_shown(installed: FakeService) -> None:
    installed.memories["s"] = [memory("Acme  has\nno API docs", event_id="e-7", span="task/3"), {"content": "no identity"}]
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert installed.kickoffs()[0]["recalled"] == [
        {"event_id": "e-7", "span": "task/3", "session": "s", "text": "Acme has\n  no API docs"}
    ]


def test_a_kickoff_too_large_for_one_event_arrives_in_pieces_of_one_execution(installed: FakeService) -> None:
    two_agent_crew(ScriptedLLM("word " * 120_000)).kickoff({"topic": "prices"})
    events = installed.kickoffs()
    assert [[task["index"] for task in event["tasks"]] for event in events] == [[0], [1]]
    assert len({event["execution_id"] for event in events}) == 1
    run = crewmem.last_run()
    assert run is not None and run.event_ids == tuple(event["id"] for event in events)


def test_a_kickoff_whose_inputs_and_outputs_json_cannot_hold_is_published_all_the_same(service: FakeService) -> None:
    """CrewAI fails at them, too: after the task that put them out is done."""
    crewmem.install(session="s", publish_inputs=["rates"])
    analyst = agent(ScriptedLLM('{"name": "Acme", "dollars": 49}'))
    task = Task(description="d", expected_output="e", agent=analyst, output_pydantic=Odd)
    with pytest.raises(TypeError):
        Crew(agents=[analyst], tasks=[task]).kickoff({"rates": {("EUR", "USD"): 1.1}})
    (event,) = service.kickoffs()
    assert event["error"]["type"] == "TypeError" and event["inputs"] == {"rates": {"EUR,USD": 1.1}}
    assert event["tasks"][0]["json"] == {"name": "Acme", "dollars": 49, "by_pair": {"a,b": 1}, "thing": "a thing"}


def test_tokens_are_counted_once_a_model_and_since_the_start() -> None:
    llm = ScriptedLLM()
    crew = two_agent_crew(llm)
    llm._token_usage = {"total_tokens": 100, "prompt_tokens": 90, "completion_tokens": 10, "successful_requests": 1}
    before = usage_so_far(crew)
    llm._token_usage = {"total_tokens": 130, "prompt_tokens": 110, "completion_tokens": 20, "successful_requests": 3}
    used = usage_since(crew, before)
    assert (used["total_tokens"], used["prompt_tokens"], used["successful_requests"]) == (30, 20, 2)
