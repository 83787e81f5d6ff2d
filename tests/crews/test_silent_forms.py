"""The forms of running agents beside Crew.kickoff: each is covered, or left out and said so once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crewmem
import pytest
from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, start
from crewai.tools import tool
from crewmem import notices
from crewmem.errors import SessionMissing, TransportRefused
from crewmem.recall_block import HEADING
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import FakeService, memory


@pytest.fixture(autouse=True)
def nothing_said() -> Iterator[None]:
    notices._notices.said.clear()
    yield
    notices._notices.said.clear()


def agent(llm: Any, **options: Any) -> Agent:
    return Agent(role="Analyst", goal="find facts", backstory="reads", llm=llm, **options)


def in_a_flow(one: Agent) -> Any:
    class OneStep(Flow[dict[str, Any]]):
        @start()
        async def run(self) -> str:
            return str(await one.kickoff_async("What does Acme charge?"))

    return OneStep().kickoff()


def in_a_plain_flow(one: Agent) -> Any:
    class OneStep(Flow[dict[str, Any]]):
        @start()
        def run(self) -> str:
            return str(one.kickoff("What does Acme charge?"))

    return OneStep().kickoff()


async def inside_a_loop(one: Agent) -> Any:
    return await one.kickoff("What does Acme charge?")  # type: ignore[misc]


AGENT_FORMS: dict[str, Callable[[Agent], Any]] = {
    "kickoff": lambda one: one.kickoff("What does Acme charge?"),
    "kickoff_async": lambda one: asyncio.run(one.kickoff_async("What does Acme charge?")),
    "akickoff": lambda one: asyncio.run(one.akickoff("What does Acme charge?")),
    "kickoff inside a loop": lambda one: asyncio.run(inside_a_loop(one)),
    "messages": lambda one: one.kickoff([{"role": "user", "content": "What does Acme charge?"}]),
    "in a flow": in_a_flow,
    "in a flow, not async": in_a_plain_flow,
}


@pytest.mark.parametrize("form", AGENT_FORMS)
def test_an_agent_that_is_kicked_off_alone_recalls_once_and_is_published_once(form: str, installed: FakeService) -> None:
    installed.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM("It charges 49 dollars.")
    AGENT_FORMS[form](agent(llm))
    assert [call["q"] for call in installed.recalls()] == ["What does Acme charge?"]
    assert llm.prompts and all(prompt.count(HEADING) == 1 for prompt in llm.prompts)
    (event,) = installed.kickoffs()
    assert event["type"] == "crewmem.kickoff.completed" and event["session"] == "s"
    assert [(task["agent_role"], task["raw"]) for task in event["tasks"]] == [("Analyst", "It charges 49 dollars.")]
    assert event["raw"] == "It charges 49 dollars." and event["recalled"][0]["event_id"] == "e-1"
    assert "What does Acme charge?" not in str(event)
    run = crewmem.last_run()
    assert run is not None and run.published and run.event_ids == (event["id"],)


def test_an_agent_that_fails_alone_is_published_with_its_error(installed: FakeService) -> None:
    def broken(prompt: str) -> str:
        raise ValueError("the model is gone")

    with pytest.raises(ValueError, match="the model is gone"):
        agent(ScriptedLLM(broken)).kickoff("What?")
    (event,) = installed.kickoffs()
    assert event["type"] == "crewmem.kickoff.failed" and event["error"]["message"] == "the model is gone"
    assert event["tasks"][0]["agent_role"] == "Analyst"


def test_what_a_guardrail_rejects_is_published_as_a_failure(installed: FakeService) -> None:
    one = agent(ScriptedLLM("x"), guardrail=lambda output: (False, "too short"), guardrail_max_retries=0)
    with pytest.raises(ValueError, match="too short"):
        one.kickoff("What?")
    assert [event["type"] for event in installed.kickoffs()] == ["crewmem.kickoff.failed"]


def test_an_agent_alone_needs_a_session_and_a_key_that_is_taken(service: FakeService) -> None:
    crewmem.install()
    llm = ScriptedLLM("x")
    with pytest.raises(SessionMissing):
        agent(llm).kickoff("What?")
    assert llm.prompts == []
    with crewmem.session("block"):
        agent(llm).kickoff("What?")
    assert [event["session"] for event in service.kickoffs()] == ["block"]
    service.fail = (401, "invalid_key")
    crewmem.install(session="s", strict=True)
    with pytest.raises(TransportRefused):
        agent(llm).kickoff("What?")


def test_by_role_an_agent_alone_has_the_session_of_its_role(service: FakeService) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    agent(ScriptedLLM("x")).kickoff("What?")
    assert service.recalls()[0]["session"] == ["Analyst"]
    assert [event["session"] for event in service.kickoffs()] == ["Analyst"]


def test_an_agent_inside_a_kickoff_takes_its_session(service: FakeService) -> None:
    llm = ScriptedLLM("x")

    def ask(output: Any) -> None:
        agent(llm).kickoff("What?")

    crew = two_agent_crew(ScriptedLLM("done"))
    crew.tasks[0].callback = ask
    crewmem.MemoryCrew(crew, session=lambda crew, inputs: inputs["user"]).kickoff({"topic": "prices", "user": "u"})
    assert [event["session"] for event in service.kickoffs()] == ["u", "u"]
    agent(llm).kickoff("What?")
    assert len(service.kickoffs()) == 2, "outside of it, nothing is installed"


def test_uninstalling_gives_crewai_its_methods_back(service: FakeService) -> None:
    own = vars(Agent)["kickoff"], vars(Agent)["kickoff_async"]
    crewmem.install(session="s")
    crewmem.install(session="t")
    assert vars(Agent)["kickoff"] is not own[0]
    crewmem.uninstall()
    assert (vars(Agent)["kickoff"], vars(Agent)["kickoff_async"]) == own
    agent(ScriptedLLM("x")).kickoff("What?")
    assert service.calls == []


VERDICT = '{"valid": true, "feedback": null}'


def judged(prompt: str) -> str:
    return VERDICT if "complies with the given guardrail" in prompt or "Guardrail Agent" in prompt else "done"


@pytest.mark.parametrize("how", ["crew", "agent"])
def test_the_judge_of_a_guardrail_gets_no_block_and_is_not_published(how: str, installed: FakeService) -> None:
    installed.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM(judged)
    if how == "crew":
        one = agent(llm)
        task = Task(description="Research", expected_output="findings", agent=one, guardrail="It names no person.")
        Crew(agents=[one], tasks=[task]).kickoff()
    else:
        agent(llm, guardrail="It names no person.").kickoff("Research")
    of_judge = [prompt for prompt in llm.prompts if "It names no person." in prompt]
    assert of_judge and not any(HEADING in prompt for prompt in of_judge)
    assert any(HEADING in prompt for prompt in llm.prompts if prompt not in of_judge)
    assert len(installed.kickoffs()) == 1 and len(installed.recalls()) == 1


def notices_in(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.message for record in caplog.records if record.levelno == logging.WARNING)


@pytest.mark.parametrize("way", ["sync", "async", "native"])
def test_a_task_that_runs_alone_is_left_out_and_said_so_once(
    way: str, installed: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    llm = ScriptedLLM("done")
    task = Task(description="Research", expected_output="findings", agent=agent(llm))
    for _ in range(2):
        if way == "sync":
            task.execute_sync()
        elif way == "async":
            task.execute_async().result(60)
        else:
            asyncio.run(task.aexecute_sync())
    assert installed.recalls() == [] and installed.kickoffs() == []
    assert notices_in(caplog, "Task.execute_sync") == 1


class Scores(ScriptedLLM):
    """The model that `test` scores with."""

    def call(self, messages: Any, *args: Any, **options: Any) -> Any:
        super().call(messages)
        return '{"quality": 8}'

    def supports_function_calling(self) -> bool:
        return False


def trial(crew: Any, how: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if how == "train":
        monkeypatch.setattr("builtins.input", lambda *_: "good")
        crew.train(1, str(folder / "trained.pkl"), {"topic": "prices"})
    else:
        crew.test(1, Scores(), {"topic": "prices"})


@pytest.mark.parametrize("how", ["train", "test"])
@pytest.mark.parametrize("covered", ["install", "MemoryCrew", "CrewMemory"])
def test_trials_recall_nothing_and_leave_nothing(
    how: str,
    covered: str,
    service: FakeService,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM("done")
    crew: Any = two_agent_crew(llm, **({"memory": crewmem.CrewMemory(session="s")} if covered == "CrewMemory" else {}))
    if covered == "install":
        crewmem.install(session="s")
    elif covered == "MemoryCrew":
        crew = crewmem.MemoryCrew(crew, session="s")
    trial(crew, how, tmp_path, monkeypatch)
    assert len(llm.prompts) >= 2 and not any(HEADING in prompt for prompt in llm.prompts)
    assert service.kickoffs() == [] and service.remembered() == []
    assert covered == "CrewMemory" or service.recalls() == []
    assert notices_in(caplog, "Crew.train") == 1
    if covered != "CrewMemory":
        crew.kickoff({"topic": "prices"})
        assert len(service.kickoffs()) == 1, "a kickoff after the trial is covered again"


def test_a_tool_inside_a_trial_of_a_memory_crew_knows_its_session(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    def note(output: Any) -> None:
        found.append(crewmem.Memstore().recall("x"))

    monkeypatch.setattr("builtins.input", lambda *_: "good")
    monkeypatch.chdir(tmp_path)
    crew = two_agent_crew(ScriptedLLM("done"))
    crew.tasks[0].callback = note
    crewmem.MemoryCrew(crew, session="mine").train(1, str(tmp_path / "trained.pkl"), {"topic": "prices"})
    assert [call["session"] for call in service.recalls()] == [["mine"]]


@pytest.mark.parametrize("covered", ["install", "MemoryCrew"])
def test_a_crew_with_a_crew_memory_of_the_same_session_shows_and_stores_everything_once(
    covered: str, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM("done")
    crew: Any = two_agent_crew(llm, memory=crewmem.CrewMemory(session="s"))
    if covered == "install":
        crewmem.install(session="s")
    else:
        crew = crewmem.MemoryCrew(crew, session="s")
    for number in (1, 2):
        crew.kickoff({"topic": "prices"})
        assert [call["q"] for call in service.recalls()][-2:] == ["Research prices", "Write it down"], "each task's own"
        assert len(service.recalls()) == 2 * number and len(service.kickoffs()) == number
    assert service.remembered() == []
    assert all(prompt.count("Acme has no API docs") == 1 and HEADING not in prompt for prompt in llm.prompts)
    assert notices_in(caplog, "CrewMemory") == 1


def test_with_different_sessions_both_do_their_part(service: FakeService) -> None:
    service.memories |= {"a": [memory("of a")], "b": [memory("of b", id="0-b")]}
    crewmem.install(session=["a", "b"])
    llm = ScriptedLLM("done")
    two_agent_crew(llm, memory=crewmem.CrewMemory(session="b")).kickoff({"topic": "prices"})
    assert all(prompt.count("of a") == prompt.count("of b") == 1 for prompt in llm.prompts)
    assert ["a"] in [call["session"] for call in service.recalls()]
    assert [body["session"] for body in service.remembered()] == ["b", "b"]
    assert [event["session"] for event in service.kickoffs()] == ["a"]


def test_without_publishing_crew_memory_saves_and_its_tools_always_do(service: FakeService) -> None:
    crewmem.install(session="s", publish=False)
    memories = crewmem.CrewMemory(session="s")
    two_agent_crew(ScriptedLLM("done"), memory=memories).kickoff({"topic": "prices"})
    assert len(service.remembered()) == 2 and service.kickoffs() == []
    crewmem.install(session="s")
    crew = two_agent_crew(ScriptedLLM("done"), memory=memories)
    crew.tasks[0].callback = lambda output: memories.remember("said on purpose") and None
    crew.kickoff({"topic": "prices"})
    assert [body["content"] for body in service.remembered()][2:] == ["said on purpose"]


@tool
def ask_elsewhere(question: str) -> str:
    """Asks."""
    return question


def test_an_agent_alone_uses_its_tools(installed: FakeService) -> None:
    asking = 'Thought: I ask.\nAction: ask_elsewhere\nAction Input: {"question": "x"}'
    answers = iter([asking, "Thought: I know.\nFinal Answer: it is x"])
    llm = ScriptedLLM(lambda prompt: next(answers))
    assert agent(llm, tools=[ask_elsewhere]).kickoff("What?").raw == "it is x"
    assert len(installed.recalls()) == 1 and len(installed.kickoffs()) == 1
