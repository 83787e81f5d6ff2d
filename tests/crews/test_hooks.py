"""Every form of kickoff recalls once, injects into this kickoff's agents alone, and publishes once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import crewmem
import pytest
from crewai import Agent, Crew, Task
from crewai.hooks import InterceptionPoint, get_hooks
from crewmem.client import Client
from crewmem.hooks import put_block
from crewmem.recall_block import HEADING
from opentelemetry import trace
from support.crews import ScriptedLLM, two_agent_crew
from support.dripping import dripping
from support.fake_service import KEY, FakeService, memory
from support.kickoff_forms import FORMS


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_kickoff_recalls_once_and_publishes_once(form: str, installed: FakeService) -> None:
    installed.memories["s"] = [memory("Acme has no API docs")]
    stream, kickoff = FORMS[form]
    llm = ScriptedLLM()
    kickoff(two_agent_crew(llm, stream=stream), {"topic": "prices"})
    assert len(installed.recalls()) == 1
    assert installed.recalls()[0] | {"q": ""} == {
        "q": "", "session": ["s"], "top_k": 8, "threshold": 0.15, "after": "latest", "wait_seconds": 3.0,
    }  # fmt: skip
    assert len(llm.prompts) == 2
    assert all(prompt.count(HEADING) == 1 and "Acme has no API docs" in prompt for prompt in llm.prompts)
    (event,) = installed.kickoffs()
    assert event["type"] == "crewmem.kickoff.completed"
    assert [task["agent_role"] for task in event["tasks"]] == ["Senior Researcher", "Content Writer"]
    run = crewmem.last_run()
    assert run is not None and run.published and run.event_ids == (event["id"],)


def test_memory_crew_does_the_same_for_one_crew_in_every_form(service: FakeService) -> None:
    for number, (name, (stream, kickoff)) in enumerate(FORMS.items(), start=1):
        crew = crewmem.MemoryCrew(two_agent_crew(ScriptedLLM(), stream=stream), session="s")
        kickoff(crew, {"topic": "prices"})  # type: ignore[arg-type]
        assert (name, len(service.recalls()), len(service.kickoffs())) == (name, number, number)
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert len(service.recalls()) == len(FORMS), "a crew without MemoryCrew is left alone"


def test_memory_crew_holds_before_what_is_installed(installed: FakeService) -> None:
    crewmem.MemoryCrew(two_agent_crew(ScriptedLLM()), session="mine").kickoff({"topic": "prices"})
    assert [call["session"] for call in installed.recalls()] == [["mine"]]
    assert [event["session"] for event in installed.kickoffs()] == ["mine"]


def test_the_query_is_the_filled_in_tasks_and_the_inputs_that_are_text(installed: FakeService) -> None:
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices", "market": "Europe", "year": 2026, "crewmem_session": "x"})
    assert installed.recalls()[0]["q"] == "Research prices\nWrite it down\nprices\nEurope"


def test_inputs_that_no_request_can_hold_do_not_cost_the_crew_its_memory(installed: FakeService) -> None:
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "a\ud800b\0c"})
    assert installed.recalls()[0]["q"].startswith("Research a?b c")


def test_the_trace_of_the_project_goes_on_in_the_event(installed: FakeService) -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(7, 9, is_remote=False, trace_flags=trace.TraceFlags(1)))
    with trace.use_span(span):
        two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert [event.get("traceparent") for event in installed.events] == [f"00-{7:032x}-{9:016x}-01", None]


def test_nothing_found_adds_nothing(installed: FakeService) -> None:
    llm = ScriptedLLM()
    two_agent_crew(llm).kickoff({"topic": "prices"})
    assert not any(HEADING in prompt for prompt in llm.prompts)


def test_a_view_that_stays_behind_the_log_is_a_warning(installed: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    installed.behind = True
    two_agent_crew(ScriptedLLM("x")).kickoff({"topic": "prices"})
    assert "memory is behind the log" in caplog.text


def test_a_kickoff_grants_its_whole_recall_the_time_that_is_set(
    installed: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: list[float] = []
    call = Client.call

    def watched(self: Client, *args: Any, **options: Any) -> dict[str, Any]:
        granted.append(options["timeout_seconds"])
        return call(self, *args, **options)

    monkeypatch.setattr(Client, "call", watched)
    crewmem.install(session="s", recall_timeout_seconds=4.0)
    two_agent_crew(ScriptedLLM("x")).kickoff({"topic": "prices"})
    (asked,) = installed.recalls()
    assert granted == [4.0] and asked["wait_seconds"] < 4.0, "there is time left for the answer"


def test_a_service_that_answers_a_byte_at_a_time_does_not_hold_a_kickoff() -> None:
    with dripping(b"{" + b" " * 10_000_000) as service:
        crewmem.install(session="s", base_url=service.base_url, api_key=KEY, recall_timeout_seconds=0.3, publish=False)
        assert two_agent_crew(ScriptedLLM("done")).kickoff({"topic": "prices"}).raw == "done"
        assert service.answering() == 0, "each answer was given up"


def test_what_was_recalled_never_sticks_to_a_later_run_or_to_the_agents(installed: FakeService) -> None:
    installed.memories["s"] = [memory("only the first run knows this")]
    llm = ScriptedLLM()
    crew = two_agent_crew(llm)
    crew.kickoff({"topic": "prices"})
    installed.memories["s"] = []
    crew.kickoff({"topic": "prices"})
    assert ["only the first run" in prompt for prompt in llm.prompts] == [True, True, False, False]
    assert all("only the first run" not in agent.backstory for agent in crew.agents)


def test_recalled_text_with_braces_reaches_the_prompt_as_it_is(installed: FakeService) -> None:
    installed.memories["s"] = [memory("The template is {name} and {topic} {}")]
    llm = ScriptedLLM()
    two_agent_crew(llm).kickoff({"topic": "prices"})
    assert all("The template is {name} and {topic} {}" in prompt for prompt in llm.prompts)


def test_installing_twice_publishes_once(installed: FakeService) -> None:
    crewmem.install(session="s")
    crewmem.install(session="other")
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert [event["session"] for event in installed.kickoffs()] == ["other"]


def test_hooks_that_somebody_cleared_are_registered_again(installed: FakeService) -> None:
    from crewai.hooks import clear_all_hooks

    clear_all_hooks()
    crewmem.install(session="s")
    assert len(get_hooks(InterceptionPoint.EXECUTION_END)) == 1


def test_a_crew_that_ran_before_install_gets_memory_too(service: FakeService) -> None:
    llm = ScriptedLLM()
    crew = two_agent_crew(llm)
    crew.kickoff({"topic": "prices"})
    service.memories["s"] = [memory("Acme has no API docs")]
    crewmem.install(session="s")
    crew.kickoff({"topic": "prices"})
    assert ["Acme has no API docs" in prompt for prompt in llm.prompts] == [False, False, True, True]


def test_agents_narrows_who_gets_memory(service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    crewmem.install(session="s", agents=["Content Writer"])
    llm = ScriptedLLM()
    two_agent_crew(llm).kickoff({"topic": "prices"})
    assert ["Acme has no API docs" in prompt for prompt in llm.prompts] == [False, True]


@pytest.mark.parametrize(("half", "recalls", "events"), [("publish", 1, 0), ("recall", 0, 1)])
def test_each_half_can_be_switched_off(half: str, recalls: int, events: int, service: FakeService) -> None:
    crewmem.install(session="s", **{half: False})
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert (len(service.recalls()), len(service.kickoffs())) == (recalls, events)


def test_a_failing_kickoff_is_published_with_its_error_and_the_tasks_done(installed: FakeService) -> None:
    def answer(prompt: str) -> str:
        if "Write it down" in prompt:
            raise RuntimeError("the model is out of order")
        return "Acme charges 49 dollars."

    crew = two_agent_crew(ScriptedLLM(answer))
    for agent in crew.agents:
        agent.max_retry_limit = 0
    with pytest.raises(RuntimeError):
        crew.kickoff({"topic": "prices"})
    (event,) = installed.kickoffs()
    assert event["type"] == "crewmem.kickoff.failed"
    assert event["error"] == {"type": "RuntimeError", "message": "the model is out of order", "task_index": 1}
    assert [(task["agent_role"], task["raw"]) for task in event["tasks"]] == [
        ("Senior Researcher", "Acme charges 49 dollars."), ("Content Writer", ""),
    ]  # fmt: skip


def test_the_outputs_of_an_earlier_run_are_not_those_of_a_failed_one(installed: FakeService) -> None:
    fails = threading.Event()

    def answer(prompt: str) -> str:
        if fails.is_set():
            raise RuntimeError("gone")
        return "fine"

    crew = two_agent_crew(ScriptedLLM(answer))
    for agent in crew.agents:
        agent.max_retry_limit = 0
    crew.kickoff({"topic": "prices"})
    fails.set()
    with pytest.raises(RuntimeError):
        crew.kickoff({"topic": "prices"})
    completed, failed = installed.kickoffs()
    assert [task["raw"] for task in completed["tasks"]] == ["fine", "fine"]
    assert [task["raw"] for task in failed["tasks"]] == [""] and failed["error"]["task_index"] == 0


def test_a_kickoff_that_fails_before_it_begins_is_published(installed: FakeService) -> None:
    crew = two_agent_crew(ScriptedLLM())

    def broken(inputs: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("no data today")

    crew.before_kickoff_callbacks.append(broken)
    with pytest.raises(ValueError, match="no data today"):
        crew.kickoff({"topic": "prices"})
    assert [event["error"]["message"] for event in installed.kickoffs()] == ["no data today"]


def test_a_crew_inside_a_crew_has_its_own_memory(service: FakeService) -> None:
    service.memories["outer"] = [memory("OUTER knows", session="outer")]
    service.memories["inner"] = [memory("INNER knows", session="inner")]
    crewmem.install(session=lambda crew, inputs: crew.name)
    inner_llm = ScriptedLLM("inner answer")

    def answer(prompt: str) -> str:
        if "Research prices" in prompt:
            inner = two_agent_crew(inner_llm)
            inner.name = "inner"
            return str(inner.kickoff({"topic": "prices"}))
        return "outer answer"

    outer_llm = ScriptedLLM(answer)
    outer = two_agent_crew(outer_llm)
    outer.name = "outer"
    outer.kickoff({"topic": "prices"})
    assert all("INNER knows" in prompt and "OUTER" not in prompt for prompt in inner_llm.prompts)
    assert all("OUTER knows" in prompt and "INNER" not in prompt for prompt in outer_llm.prompts)
    assert [event["session"] for event in service.kickoffs()] == ["inner", "outer"]


def test_concurrent_kickoffs_do_not_mix(service: FakeService) -> None:
    names = [f"customer-{number}" for number in range(6)]
    for name in names:
        service.memories[name] = [memory(f"secret of {name}.", session=name)]
    crewmem.install(session=lambda crew, inputs: inputs["customer"])
    llms = {name: ScriptedLLM(f"answer for {name}") for name in names}

    async def all_at_once() -> None:
        crews = [(two_agent_crew(llms[name]), name) for name in names]
        await asyncio.gather(*(crew.akickoff({"topic": "prices", "customer": name}) for crew, name in crews))

    asyncio.run(all_at_once())
    for name, llm in llms.items():
        assert all(f"secret of {name}." in prompt and prompt.count("secret of") == 1 for prompt in llm.prompts)
    assert sorted(event["session"] for event in service.kickoffs()) == names
    assert all(event["session"] in event["raw"] for event in service.kickoffs())


def test_crews_that_share_an_agent_get_each_its_own_memory(service: FakeService) -> None:
    for name in ("a", "b"):
        service.memories[name] = [memory(f"secret of {name}.", session=name)]
    llm = ScriptedLLM()
    agent = Agent(role="Analyst", goal="g", backstory="b", llm=llm)
    crews = {
        name: Crew(agents=[agent], tasks=[Task(description=f"work for {name}", expected_output="x", agent=agent)])
        for name in ("a", "b")
    }
    for name, crew in crews.items():
        crewmem.MemoryCrew(crew, session=name)
    for name in ("a", "b", "a"):
        crews[name].kickoff()
    assert ["secret of a." in prompt for prompt in llm.prompts] == [True, False, True]
    assert ["secret of b." in prompt for prompt in llm.prompts] == [False, True, False]


def test_a_block_is_put_once_into_whatever_the_first_message_is() -> None:
    text: list[Any] = [{"role": "system", "content": "You are R."}, {"role": "user", "content": "go"}]
    parts: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "look"}]}]
    original = text[0]
    for messages in (text, parts):
        put_block(messages, "BLOCK")
        put_block(messages, "BLOCK")
    assert text[0]["content"] == "You are R.\n\nBLOCK" and original["content"] == "You are R."
    assert parts[0]["content"] == [{"type": "text", "text": "look"}, {"type": "text", "text": "BLOCK"}]
    empty: list[Any] = []
    put_block(empty, "BLOCK")
    assert empty == []


@pytest.mark.parametrize("nested", [False, True])
def test_a_before_kickoff_callback_that_installs_crewmem_covers_that_kickoff(nested: bool, service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM()
    crew = two_agent_crew(llm)

    def install(inputs: dict[str, Any] | None) -> dict[str, Any]:
        crewmem.install(session="s")
        return {**(inputs or {}), "topic": "prices of Acme"}

    crew.before_kickoff_callbacks.append(install)
    if nested:  # inside a kickoff of another crew, which has its own memory
        outer = crewmem.MemoryCrew(two_agent_crew(ScriptedLLM(lambda prompt: crew.kickoff() and "done")), session="outer")
        outer.kickoff({"topic": "x"})
    else:
        crew.kickoff()
    assert "Acme has no API docs" in llm.prompts[0]
    assert "prices of Acme" in next(body["q"] for body in service.recalls() if body["session"] == ["s"])
    assert [event["session"] for event in service.kickoffs()].count("s") == (2 if nested else 1)


def test_the_key_in_an_error_is_neither_logged_nor_published_nor_shown(
    installed: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-proj-" + "aB3dE5fG7hJ9kL1m" * 3

    def refused(prompt: str) -> str:
        raise ValueError(f"Error code: 401 - Incorrect API key provided: {key}.")

    with caplog.at_level("INFO"), pytest.raises(ValueError, match=key):
        two_agent_crew(ScriptedLLM(refused)).kickoff({"topic": "prices"})
    run = crewmem.last_run()
    assert run is not None and run.failed is not None and run.failed.startswith("ValueError: Error code: 401")
    (event,) = installed.kickoffs()
    assert event["error"]["message"].startswith("Error code: 401")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("crewmem")]
    for said in (run.failed, str(run), str(event), *ours):
        assert key not in said and key[8:24] not in said
