"""Everything that is called inside a kickoff takes the kickoff's session, in every form of kickoff."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import crewmem
import pytest
from crewai import Agent, Crew, Process, Task
from crewai.tools import tool
from crewmem import Event, MemoryRemembered, Memstore, Publisher, RecallTool, RememberTool
from crewmem.errors import SessionFailed, SessionMissing
from support.crews import ScriptedLLM, acting, two_agent_crew
from support.fake_service import FakeService, memory
from support.kickoff_forms import FORMS
from support.waiting import until


def note(place: str) -> None:
    Memstore().remember(f"from {place}")


@tool("own tool")
def own_tool(text: str) -> str:
    """A tool of the project's own."""
    note("own tool")
    return "done"


def guardrail(output: Any):  # type: ignore[no-untyped-def]  # CrewAI refuses what it does not know as annotation
    note("guardrail")
    return True, output


def before(inputs: dict[str, Any]) -> dict[str, Any]:
    note("before_kickoff")
    return inputs


def after(output: Any) -> Any:
    note("after_kickoff")
    return output


def crew_that_remembers_everywhere(*, stream: bool = False, async_tasks: bool = False) -> Crew:
    llm = ScriptedLLM(
        acting(
            ("remember", {"content": "from RememberTool"}), ("recall_memory", {"query": "Acme"}), ("own tool", {"text": "x"})
        )
    )
    agent = Agent(
        role="Researcher",
        goal="g",
        backstory="b",
        llm=llm,
        tools=[RememberTool(), RecallTool(), own_tool],
        step_callback=lambda step: note("step callback"),
    )
    task = Task(
        description="Research {topic}",
        expected_output="e",
        agent=agent,
        guardrail=guardrail,
        callback=lambda output: note("task callback"),
        async_execution=async_tasks,
    )
    crew = Crew(name="everywhere", agents=[agent], tasks=[task], stream=stream)
    crew.task_callback = lambda output: note("crew's task callback")
    crew.before_kickoff_callbacks.append(before)
    crew.after_kickoff_callbacks.append(after)
    return crew


EVERYWHERE = {
    "from RememberTool", "from own tool", "from guardrail", "from step callback", "from task callback",
    "from crew's task callback", "from before_kickoff", "from after_kickoff",
}  # fmt: skip


def written(service: FakeService) -> dict[str, set[str]]:
    """What was remembered, by session."""
    found: dict[str, set[str]] = {}
    for body in service.remembered():
        found.setdefault(body["session"], set()).add(body["content"])
    return found


@pytest.mark.parametrize("async_tasks", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_whatever_is_called_inside_takes_the_session_of_the_kickoff(
    form: str, async_tasks: bool, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMEM_SESSION", "the process's")
    crewmem.install()
    stream, kickoff = FORMS[form]
    kickoff(
        crew_that_remembers_everywhere(stream=stream, async_tasks=async_tasks), {"topic": "x", "crewmem_session": "customer"}
    )
    assert written(service) == {"customer": EVERYWHERE}
    assert {name for call in service.recalls() for name in call["session"]} == {"customer"}
    assert Memstore()._sessions(None).write == "the process's", "the kickoff is over"


@pytest.mark.parametrize("way", ["install", "MemoryCrew", "function", "block"])
def test_however_the_session_was_named(way: str, service: FakeService) -> None:
    crew: Any = crew_that_remembers_everywhere()
    if way == "MemoryCrew":
        crew = crewmem.MemoryCrew(crew, session="s")
    else:
        crewmem.install({"install": "s", "function": lambda crew, inputs: inputs["who"], "block": None}[way])
    if way == "block":
        with crewmem.session("s"):
            crew.kickoff({"topic": "x"})
    else:
        crew.kickoff({"topic": "x", "who": "s"})
    assert written(service) == {"s": EVERYWHERE}


def test_of_a_list_a_tool_reads_all_and_writes_to_the_first(service: FakeService) -> None:
    crewmem.install(session=["mine", "shared"])
    crew_that_remembers_everywhere().kickoff({"topic": "x"})
    assert set(written(service)) == {"mine"}
    assert [call["session"] for call in service.recalls()] == [["mine", "shared"]] * 2, "the kickoff's, and the tool's"


def test_an_argument_wins_over_the_kickoff(service: FakeService) -> None:
    crewmem.install(session="s")
    agent = Agent(
        role="R", goal="g", backstory="b", tools=[RememberTool(session="theirs")],
        llm=ScriptedLLM(acting(("remember", {"content": "a fact"}))),
    )  # fmt: skip
    task = Task(description="d", expected_output="e", agent=agent)
    task.callback = lambda output: [Memstore().remember("b", "other"), Memstore(session="made").remember("c")]
    Crew(agents=[agent], tasks=[task]).kickoff()
    assert written(service) == {"theirs": {"a fact"}, "other": {"b"}, "made": {"c"}}


def test_events_of_ones_own_without_a_scope_take_the_session_too(service: FakeService) -> None:
    crewmem.install(session="s")
    publisher = Publisher(flush_seconds=30)
    crew = two_agent_crew(ScriptedLLM())
    crew.task_callback = lambda output: publisher.publish(Event(body=MemoryRemembered(content="a fact")))
    crew.kickoff({"topic": "x"})
    with crewmem.session("block"):
        publisher.publish(Event(body=MemoryRemembered(content="b")))
    assert publisher.flush(30)
    found = [(event["data"]["session"], event["data"].get("content")) for event in service.events]
    assert [pair for pair in found if pair[1]] == [("s", "a fact"), ("s", "a fact"), ("block", "b")]
    with pytest.raises(SessionMissing):
        publisher.publish(Event(body=MemoryRemembered(content="c")))
    publisher.close()


def test_a_kickoff_inside_a_kickoff_has_its_own_session_else_that_of_the_outer_one(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMEM_SESSION", "the process's")
    crewmem.install()
    inner = crew_that_remembers_everywhere

    @tool("inner")
    def run_inner(session: str) -> str:
        """Run a crew."""
        named = {"crewmem_session": session} if session else {}
        inner().kickoff({"topic": "x", **named})
        note("the outer one's tool")
        return "done"

    agent = Agent(role="R", goal="g", backstory="b", tools=[run_inner])
    agent.llm = ScriptedLLM(acting(("inner", {"session": "inner"}), ("inner", {"session": ""})))
    crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
    crew.kickoff({"crewmem_session": "outer"})
    outers = {"from the outer one's tool"}
    assert written(service) == {"inner": EVERYWHERE, "outer": EVERYWHERE | outers}
    assert [event["session"] for event in service.kickoffs()] == ["inner", "outer", "outer"]


def test_a_block_inside_a_tool_is_nearer_than_the_kickoff(service: FakeService) -> None:
    crewmem.install(session="s")
    crew = two_agent_crew(ScriptedLLM())

    def remember(output: Any) -> None:
        with crewmem.session("nearer"):
            Memstore().remember("in the block")
        Memstore().remember("after it")

    crew.tasks[0].callback = remember
    crew.kickoff({"topic": "x"})
    assert written(service) == {"nearer": {"in the block"}, "s": {"after it"}}


def test_a_before_kickoff_callback_can_name_the_session_and_use_it_at_once(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMEM_SESSION", "the process's")
    crewmem.install()
    crew = two_agent_crew(ScriptedLLM())

    def name(inputs: dict[str, Any]) -> dict[str, Any]:
        inputs["crewmem_session"] = "named"
        note("before_kickoff")
        return inputs

    crew.before_kickoff_callbacks.append(name)
    crew.kickoff({"topic": "x"})
    assert written(service) == {"named": {"from before_kickoff"}}


def test_a_session_that_is_named_after_another_one_was_used_stops_the_kickoff(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWMEM_SESSION", "the process's")
    crewmem.install()
    llm = ScriptedLLM()
    crew = two_agent_crew(llm)
    crew.before_kickoff_callbacks += [before, lambda inputs: inputs | {"crewmem_session": "late"}]
    with pytest.raises(SessionMissing, match="before_kickoff"):
        crew.kickoff({"topic": "x"})
    assert llm.prompts == []


def test_a_thread_that_a_tool_starts_is_refused_unless_it_carries_the_session(service: FakeService) -> None:
    crewmem.install(session="s")
    crew = two_agent_crew(ScriptedLLM())
    refused: list[BaseException | None] = []

    def remember(output: Any) -> None:
        with ThreadPoolExecutor() as pool:
            refused.append(pool.submit(note, "a thread").exception())
            pool.submit(crewmem.propagate(note), "a thread that carries it").result()

    crew.tasks[0].callback = remember
    crew.kickoff({"topic": "x"})
    assert written(service) == {"s": {"from a thread that carries it"}}
    assert isinstance(refused[0], SessionMissing)


def test_a_cancelled_kickoff_leaves_no_session_behind(service: FakeService) -> None:
    """CrewAI calls no hook at a cancellation."""
    crewmem.install(session="s")
    called, go = threading.Event(), threading.Event()

    def answer(prompt: str) -> str:
        called.set()
        go.wait(60)
        return "done"

    async def cancelled() -> None:
        kickoff = asyncio.create_task(two_agent_crew(ScriptedLLM(answer)).akickoff({"topic": "x"}))
        await asyncio.to_thread(called.wait, 60)
        kickoff.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await kickoff

    threads = set(threading.enumerate())
    asyncio.run(cancelled())
    until(lambda: {thread for thread in threading.enumerate() if "asyncio" in thread.name} <= threads)
    note("outside")
    assert written(service) == {"shared": {"from outside"}}


def test_an_interrupted_kickoff_leaves_no_session_behind(service: FakeService) -> None:
    crewmem.install(session="s")
    crew = two_agent_crew(ScriptedLLM())

    def interrupt(output: Any) -> None:
        raise KeyboardInterrupt

    crew.tasks[0].callback = interrupt
    with pytest.raises(KeyboardInterrupt):
        crew.kickoff({"topic": "x"})
    note("outside")
    assert written(service) == {"shared": {"from outside"}}


@pytest.mark.parametrize(
    "wrong", [lambda crew, inputs: 1 / 0, lambda crew, inputs: 7, lambda crew, inputs: "", lambda crew, inputs: []]
)
def test_a_session_function_that_fails_stops_the_kickoff(wrong: Any, service: FakeService) -> None:
    crewmem.install(session=wrong)
    llm = ScriptedLLM()
    with pytest.raises(SessionFailed, match="session function") as caught:
        two_agent_crew(llm).kickoff({"topic": "x"})
    assert caught.value.__cause__ is not None
    assert llm.prompts == [] and service.calls == [] and service.kickoffs() == []


def test_a_session_function_that_gives_none_leaves_nothing_is_a_forgotten_session(service: FakeService) -> None:
    crewmem.install(session=lambda crew, inputs: None)
    with pytest.raises(SessionMissing, match="no session"):
        two_agent_crew(ScriptedLLM()).kickoff({"topic": "x"})


def test_by_role_a_call_goes_to_the_role_of_the_agent_that_makes_it(service: FakeService) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    crew = two_agent_crew(ScriptedLLM(acting(("remember", {"content": "from RememberTool"}))))
    for agent in crew.agents:
        agent.tools = [RememberTool()]
    crew.task_callback = lambda output: note("task callback")
    crew.after_kickoff_callbacks.append(after)
    crew.kickoff({"topic": "x"})
    each = {"from RememberTool", "from task callback"}
    assert written(service) == {"Senior Researcher": each, "Content Writer": each | {"from after_kickoff"}}


def test_by_role_a_call_that_no_agent_makes_is_refused(service: FakeService) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    crew = two_agent_crew(ScriptedLLM())
    crew.before_kickoff_callbacks.append(before)
    with pytest.raises(SessionMissing, match="no agent"):
        crew.kickoff({"topic": "x"})
    assert written(service) == {}


def hierarchical(*steps: tuple[str, dict[str, Any]], name: str | None = "sales", own: bool = False) -> Crew:
    """A manager who makes these steps, and two coworkers with RememberTool; `own`: the task names the first."""
    work = acting(("remember", {"content": "the coworker's"}), marker="the delegated part", answer="of the coworker")
    manage = acting(*steps, answer="of the manager")
    llm = ScriptedLLM(lambda prompt: work(prompt) if "You are Crew Manager" not in prompt else manage(prompt))
    coworkers = [
        Agent(role=role, goal="g", backstory="b", llm=llm, tools=[RememberTool()]) for role in ("Researcher", "Writer")
    ]
    task = Task(description="Do it all", expected_output="e", agent=coworkers[0] if own else None)
    return Crew(name=name, agents=coworkers, tasks=[task], process=Process.hierarchical, manager_llm=llm)


def delegation(coworker: str) -> tuple[str, dict[str, Any]]:
    return "delegate_work_to_coworker", {"task": "the delegated part", "context": "c", "coworker": coworker}


def test_by_role_what_a_manager_delegates_belongs_to_the_coworker(service: FakeService) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    service.memories["Writer"] = [memory("writers know", session="Writer")]
    crew = hierarchical(delegation("writer"))
    crew.tasks[0].callback = lambda output: note("task callback")
    crew.kickoff()
    (event,) = service.kickoffs()
    assert (event["session"], event["raw"]) == ("Writer", "of the manager")
    assert written(service) == {"Writer": {"the coworker's", "from task callback"}}
    assert {name for call in service.recalls() for name in call["session"]} == {"Crew Manager of sales", "Writer"}


def test_by_role_what_nobody_or_several_did_belongs_to_the_agent_that_the_task_names(service: FakeService) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    crew = hierarchical(own=True)
    crew.kickoff()
    crew.kickoff()  # CrewAI has put the manager in the place of the task's agent
    assert [event["session"] for event in service.kickoffs()] == ["Researcher", "Researcher"]


def test_by_role_a_manager_alone_has_a_session_for_each_crew(service: FakeService) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    for name in ("sales", "support", None):
        hierarchical(name=name).kickoff()
    hierarchical(delegation("writer"), delegation("researcher")).kickoff()
    first, second, unnamed, several = [event["session"] for event in service.kickoffs() if event["raw"]]
    assert (first, second, several) == ("Crew Manager of sales", "Crew Manager of support", "Crew Manager of sales")
    assert unnamed.startswith("Crew Manager of crew ") and len(unnamed) > len("Crew Manager of crew ")


def test_by_role_the_session_is_the_role_as_it_is_written(service: FakeService) -> None:
    """As `crewai create` writes it: one session, whatever the topic."""
    crewmem.install(session=crewmem.AGENT_ROLE)
    for topic in ("AI LLMs", "prices"):
        agent = Agent(
            role="{topic} Senior Data Researcher\n", goal="g", backstory="b", llm=ScriptedLLM(), tools=[RememberTool()]
        )
        task = Task(description="d", expected_output="e", agent=agent, callback=lambda output: note("task callback"))
        Crew(agents=[agent], tasks=[task]).kickoff({"topic": topic})
    role = "{topic} Senior Data Researcher"
    assert {event["session"] for event in service.kickoffs()} == {role} == set(written(service))
    assert [call["session"] for call in service.recalls()] == [[role], [role]]
    assert [event["tasks"][0]["agent_role"] for event in service.kickoffs()] == [
        "AI LLMs Senior Data Researcher", "prices Senior Data Researcher",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["a careful analyst of " + "every kind of table, " * 20, "tab\x00le", "*", "́" * 300])
def test_by_role_a_role_that_is_no_name_has_a_session_all_the_same(
    role: str, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    crewmem.install(session=crewmem.AGENT_ROLE)
    for _ in range(2):
        agent = Agent(role=role, goal="g", backstory="b", llm=ScriptedLLM())
        Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)]).kickoff()
    (session,) = {event["session"] for event in service.kickoffs()}
    assert [call["session"] for call in service.recalls()] == [[session], [session]]
    assert len(session) <= 200 and len(service.kickoffs()) == 2
    assert [record.levelname for record in caplog.records if "cannot be a session's name" in record.message] == ["WARNING"]


def test_two_long_roles_that_begin_alike_are_two_sessions() -> None:
    from crewmem.agent_roles import session_of_role

    assert session_of_role("analyst " * 50 + "one") != session_of_role("analyst " * 50 + "two")
