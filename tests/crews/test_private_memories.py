"""A private memory is seen by the source that made it, on every way to read, and stands for nothing of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import crewmem
import pytest
from crewmem import CrewMemory, Memstore, RecallTool
from support.crews import ScriptedLLM, two_agent_crew
from support.live import live_service

SALARY = "Alice's salary is 90000"


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with live_service(tmp_path / "service") as service:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        yield


@pytest.fixture
def memories(live: None) -> CrewMemory:
    made = CrewMemory(session="s")
    record = made.remember(SALARY, source="alice", private=True)
    assert record is not None and record.private and record.source == "alice"
    made.remember("The salary day is the 25th", source="alice")
    return made


def found(memories: CrewMemory, **asked: object) -> set[str]:
    return {match.record.content for match in memories.recall("Alice's salary", **asked)}  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_crewais_memory_gives_it_to_its_source_alone(depth: str, memories: CrewMemory) -> None:
    public = {"The salary day is the 25th"}
    assert found(memories, source="alice", depth=depth) == public | {SALARY}
    assert found(memories, include_private=True, depth=depth) == public | {SALARY}
    for asked in ({"source": "bob"}, {}, {"source": ""}):
        assert found(memories, depth=depth, **asked) == public
    assert {match.record.content for match in memories.scope("/").recall("salary", source="bob")} == public
    assert {record.content for record in memories.list_records()} == public
    assert memories.info().record_count == 1


def test_one_without_a_source_is_seen_only_by_who_includes_all(memories: CrewMemory) -> None:
    memories.remember("A salary of nobody", private=True)
    for asked in ({}, {"source": "None"}, {"source": "alice"}):
        assert "A salary of nobody" not in found(memories, **asked)
    assert "A salary of nobody" in found(memories, include_private=True)


def test_no_prompt_no_tool_and_no_client_gets_it(memories: CrewMemory) -> None:
    crewmem.install(session="s", threshold=0)
    llm = ScriptedLLM()
    two_agent_crew(llm).kickoff({"topic": "Alice's salary"})
    assert all("90000" not in prompt and "the 25th" in prompt for prompt in llm.prompts)
    crewmem.uninstall()
    llm = ScriptedLLM()
    two_agent_crew(llm, memory=memories).kickoff({"topic": "Alice's salary"})
    assert all("90000" not in prompt and "the 25th" in prompt for prompt in llm.prompts)
    memstore = Memstore()
    assert "90000" not in RecallTool(session="s", threshold=0).run(query="Alice's salary")
    assert "90000" not in memstore.context("Alice's salary", "s")
    assert SALARY not in {memory["content"] for memory in memstore.recall("Alice's salary", "s", top_k=100)}
    assert SALARY not in {memory["content"] for memory in memstore.list("s")["memories"]}
    asked = memstore.recall("Alice's salary", "s", source="alice", top_k=1)
    assert [memory["content"] for memory in asked] == [SALARY]
    assert SALARY in {memory["content"] for memory in memstore.list("s", include_private=True)["memories"]}


def test_it_is_no_repeat_and_has_no_repeats_of_others(memories: CrewMemory) -> None:
    memories.remember(SALARY, source="bob", private=True)
    assert SALARY in found(memories, source="bob")
    memories.remember(SALARY)
    assert SALARY in found(memories, source="carol"), "what is not private is there, although private ones say the same"
    memories.remember(SALARY, source="dave", private=True)
    assert len([match for match in memories.recall(SALARY, source="dave") if match.record.content == SALARY]) == 2


def test_a_key_replaces_only_what_the_same_source_keeps_private(live: None) -> None:
    memstore = Memstore()
    for source, salary in (("alice", "90000"), ("bob", "70000"), ("alice", "95000")):
        memstore.remember(f"The salary is {salary}", "s", key="salary", metadata={"private": True, "source": source})
    memstore.remember("The salary is not said", "s", key="salary")

    def seen(source: str) -> set[str]:
        return {memory["content"] for memory in memstore.recall("salary", "s", source=source)}

    assert seen("alice") == {"The salary is 95000", "The salary is not said"}
    assert seen("bob") == {"The salary is 70000", "The salary is not said"}
