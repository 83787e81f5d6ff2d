"""CrewAI's own memory on top of crewmem."""

import crewmem
import pytest
from crewai.tools.memory_tools import create_memory_tools
from crewmem import CrewMemory
from crewmem.errors import NotFound, RequestRefused, SessionMissing
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import FakeService, memory


def test_a_crew_recalls_for_every_task_and_saves_results_without_prompts(service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has {no} API docs")]
    llm = ScriptedLLM("it is done")
    two_agent_crew(llm, memory=CrewMemory(session="s")).kickoff({"topic": "prices"})
    assert [call["q"] for call in service.recalls()] == ["Research prices", "Write it down"]
    assert all("Acme has {no} API docs" in prompt for prompt in llm.prompts)
    saved = service.remembered()
    assert [(body["content"], body["session"], body["speaker"]) for body in saved] == [
        ("it is done", "s", "Senior Researcher"), ("it is done", "s", "Content Writer"),
    ]  # fmt: skip


def test_it_survives_the_copy_that_kickoff_for_each_makes(service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    llm = ScriptedLLM()
    two_agent_crew(llm, memory=CrewMemory(session="s")).kickoff_for_each([{"topic": "a"}, {"topic": "b"}])
    assert len(service.recalls()) == 4


def test_an_outage_does_not_stop_such_a_crew(service: FakeService) -> None:
    crew = two_agent_crew(ScriptedLLM("done"), memory=CrewMemory(session="s"))
    service.stop()
    assert crew.kickoff({"topic": "prices"}).raw == "done"


def test_crewais_memory_tools_work_on_it(service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has no API docs", score=0.87)]
    search, save = create_memory_tools(CrewMemory(session="s"))
    assert "(score=0.87) Acme has no API docs" in search.run(queries=["Acme"])
    save.run(contents=["a fact"])
    assert [body["content"] for body in service.remembered()] == ["a fact"]
    assert len(create_memory_tools(CrewMemory(session="s", read_only=True))) == 1


def test_a_view_of_it_sees_its_own_scope_only(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    service.memories["s"] = [
        memory("in", metadata={"scope": "/sales/eu"}),
        memory("out", id="0-b", metadata={"scope": "/salesman"}),
    ]
    assert [match.record.content for match in memories.scope("/sales").recall("x")] == ["in"]
    memories.scope("/sales").remember("a fact")
    assert service.remembered()[0]["metadata"] == {"scope": "/sales"}


def test_read_only_stores_nothing(service: FakeService) -> None:
    assert CrewMemory(session="s", read_only=True).remember("x") is None
    assert service.remembered() == []


def test_the_session_is_fixed_when_it_is_made(service: FakeService) -> None:
    with pytest.raises(SessionMissing):
        CrewMemory()
    with pytest.raises(RequestRefused):
        CrewMemory(session=crewmem.AGENT_ROLE)
    with crewmem.session("block"):
        memories = CrewMemory()
    memories.remember("x")
    assert service.remembered()[0]["session"] == "block"


def test_what_would_take_memory_from_other_crews_is_refused(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    for call in (memories.reset, memories.reset_all, memories.forget, lambda: memories.update("0-1", content="x")):
        with pytest.raises(RequestRefused):
            call()
    with pytest.raises(NotFound):
        memories.forget(record_ids=["0-9"])


def test_what_crewai_shows_of_a_memory_is_there(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    assert memories.list_records() == [] and memories.list_scopes() == [] and memories.list_categories() == {}
    assert memories.info().record_count == 0 and memories.tree() == "/ (0 records)"
