"""CrewAI's own memory on top of crewmem."""

import asyncio
import copy
import inspect
from typing import Any

import crewmem
import pytest
from crewai.memory.unified_memory import Memory
from crewai.tools.memory_tools import create_memory_tools
from crewmem import CrewMemory
from crewmem.errors import RequestRefused, SessionMissing
from crewmem_consumers.redaction import redact_name
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


def test_what_crewai_shows_of_a_memory_is_there(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    assert memories.list_records() == [] and memories.list_scopes() == [] and memories.list_categories() == {}
    assert memories.info().record_count == 0 and memories.tree() == "/ (0 records)"


WRONG: list[object] = [None, 7, 2.5, True, "", "x", [], ["x", 7, None], {}, {"a": ["b"]}]


@pytest.mark.parametrize("name", ["scope", "categories", "source", "private", "importance"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_metadata_of_any_type_costs_a_session_none_of_its_recalls(name: str, value: object, service: FakeService) -> None:
    service.memories["s"] = [memory("odd", metadata={name: value}), memory("even", id="0-b")]
    memories = CrewMemory(session="s")
    assert [match.record.content for match in memories.recall("x", include_private=True)] == ["odd", "even"]
    assert [record.content for record in memories.list_records()] == ["odd", "even"]
    assert memories.info().record_count == 2 and memories.tree() and memories.list_categories() is not None
    llm = ScriptedLLM()
    two_agent_crew(llm, memory=memories).kickoff({"topic": "prices"})
    assert all("even" in prompt for prompt in llm.prompts)


@pytest.mark.parametrize("importance", [0, 0.0, 1, 0.25])
def test_an_importance_is_kept_also_when_it_is_zero(importance: float, service: FakeService) -> None:
    service.memories["s"] = [memory("a", importance=importance)]
    assert CrewMemory(session="s").list_records()[0].importance == importance


@pytest.mark.parametrize("importance", [None, -1, 7, "high", True, [1]])
def test_an_importance_that_is_none_of_crewais_is_the_usual_one(importance: object, service: FakeService) -> None:
    service.memories["s"] = [memory("a", importance=importance)]
    assert CrewMemory(session="s").list_records()[0].importance == 0.5


def test_of_many_contents_blank_ones_are_left_out_and_a_refused_one_costs_no_other(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    assert [record.content for record in memories.remember_many(["a", "", " ", "b"])] == ["a", "b"]
    with pytest.raises(RequestRefused):
        memories.remember_many(["c", 7, "d"])  # type: ignore[list-item]
    assert [body["content"] for body in service.remembered()] == ["a", "b", "c", "d"]


def test_the_same_text_in_two_scopes_or_of_two_sources_has_keys_of_its_own(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    for options in ({"scope": "/eu"}, {"scope": "/us"}, {"scope": "/us/"}, {"source": "alice"}, {}, {"scope": "/"}):
        memories.remember("Prices rise.", **options)
    keys = [body.get("key") for body in service.remembered()]
    assert keys[1] == keys[2] and len({*keys[:2], keys[3]}) == 3
    assert keys[4:] == [None, None], "what is said twice there becomes one memory"
    assert all(redact_name(key) == key for key in keys)


def test_what_asks_for_nothing_finds_nothing(service: FakeService) -> None:
    service.memories["s"] = [memory("a")]
    memories = CrewMemory(session="s")
    assert memories.recall("") == memories.recall("  ") == memories.recall("x", limit=0) == memories.recall("x", limit=-1) == []
    assert memories.list_records(limit=0) == []
    assert service.recalls() == []


def scoped(*paths: str) -> list[dict[str, Any]]:
    return [memory(path, id=f"0-{number}", metadata={"scope": path}) for number, path in enumerate(paths)]


def test_what_is_shown_of_a_path_is_of_that_path(service: FakeService) -> None:
    service.memories["s"] = [
        *scoped("/sales", "/sales/eu", "/sales/eu/fr", "/salesman", "/hr"),
        memory("plain", id="0-p", metadata={"categories": ["x", "y"]}, created_at="2026-11-01T00:00:00Z"),
        memory("in", id="0-q", metadata={"scope": "/sales", "categories": ["y"]}),
    ]
    memories = CrewMemory(session="s")
    whole = memories.info()
    assert (whole.record_count, whole.categories, whole.child_scopes) == (7, ["x", "y"], ["/hr", "/sales", "/salesman"])
    assert whole.oldest_record is not None and whole.oldest_record.day == 1
    part = memories.info("/sales")
    assert (part.path, part.record_count, part.categories, part.child_scopes) == ("/sales", 4, ["y"], ["/sales/eu"])
    assert memories.list_scopes() == ["/hr", "/sales", "/salesman"] and memories.list_scopes("sales/") == ["/sales/eu"]
    assert memories.list_categories() == {"x": 1, "y": 2} and memories.list_categories("/sales") == {"y": 1}
    assert memories.tree("/sales") == "/sales (4 records)\n  /sales/eu (2 records)\n    /sales/eu/fr (1 records)"
    assert memories.tree("/sales", max_depth=1).endswith("/sales/eu (2 records)") and "/hr" in memories.tree()
    assert memories.info("/none").record_count == 0 and memories.tree("/none") == "/none (0 records)"


def test_records_are_listed_whatever_their_number_and_filtered_before_the_page(service: FakeService) -> None:
    service.memories["s"] = scoped(*(f"/{'even' if number % 2 == 0 else 'odd'}/{number}" for number in range(450)))
    memories = CrewMemory(session="s")
    assert len(memories.list_records()) == 200 and len(memories.list_records(limit=1_000)) == 450
    even = memories.list_records("/even", limit=150, offset=10)
    assert [record.scope for record in even] == [f"/even/{number}" for number in range(20, 320, 2)]
    assert memories.info("/odd").record_count == 225
    assert memories.list_records(offset=440)[0].scope == "/even/440"


def test_a_scope_is_recalled_also_behind_a_hundred_better_matches(service: FakeService) -> None:
    service.memories["s"] = [*scoped(*["/other"] * 150), memory("in", id="0-z", score=0.3, metadata={"scope": "/mine"})]
    assert [match.record.content for match in CrewMemory(session="s").recall("x", scope="/mine")] == ["in"]


def test_forgetting_counts_what_was_there(service: FakeService) -> None:
    service.memories["s"] = scoped("/a", "/b")
    assert CrewMemory(session="s").forget(record_ids=["0-9", "0-0", "0-1"]) == 2
    assert service.memories["s"] == []


def test_closing_copying_and_the_root_of_a_scope_do_what_they_do_in_crewais(service: FakeService) -> None:
    memories = CrewMemory(session="s")
    memories.drain_writes()
    memories.close()
    record = copy.deepcopy(memories).remember("x", scope="eu", root_scope="/crew/a")
    assert record is not None and record.scope == "/crew/a/eu"
    assert service.remembered()[0]["metadata"] == {"scope": "/crew/a/eu"}


def test_every_public_method_of_crewais_memory_takes_its_arguments_and_raises_only_what_is_documented(
    service: FakeService,
) -> None:
    memories = CrewMemory(session="s")
    refused = {"update", "reset", "reset_all", "forget"}
    called = []
    for name, method in inspect.getmembers(Memory, inspect.isfunction):
        if name.startswith(("_", "model_")) or name not in vars(Memory):
            continue
        parameters = [p for p in inspect.signature(method).parameters.values() if p.name != "self" and p.default is p.empty]
        arguments = [["x"] if p.name in ("contents", "scopes") else "x" for p in parameters]
        call = getattr(memories, name)
        if name in refused:
            with pytest.raises(RequestRefused):
                call(*arguments)
        else:
            found = call(*arguments)
            if inspect.iscoroutine(found):
                asyncio.run(found)
        called.append(name)
        own = inspect.signature(getattr(CrewMemory, name)).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in own.values())
        assert open_ended or set(inspect.signature(method).parameters) <= set(own), name
    assert {"remember", "recall", "close", "info", "tree", "arecall", "drain_writes", "scope", "slice"} <= set(called)
