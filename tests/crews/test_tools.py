"""The tools with which an agent itself recalls and remembers."""

from __future__ import annotations

import crewmem
import pytest
from crewai import Agent, Crew, Task
from crewmem import RecallTool, RememberTool
from crewmem.errors import SessionMissing
from crewmem.recall_block import CHARACTERS_PER_TOKEN, HEADING
from support.crews import ScriptedLLM
from support.fake_service import FakeService, memory


def test_an_agent_recalls_and_remembers_with_the_tools(service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    found = RecallTool(session="s").run(query="Acme")
    assert found.startswith(HEADING) and found.endswith(" Senior Researcher: Acme has no API docs")
    assert RememberTool(session="s").run(content="a fact") == "Remembered."
    assert RememberTool(session="s").run(content=" ").startswith("Refused:")
    assert RecallTool(session="other").run(query="Acme") == "Nothing found."
    assert RecallTool(session="s").run(query=" ").startswith("Refused:")
    agent = Agent(role="R", goal="g", backstory="b", llm=ScriptedLLM(), tools=[RecallTool(session="s")])
    Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)]).kickoff()


def test_what_an_agent_recalls_has_no_more_tokens_than_what_a_kickoff_recalls(service: FakeService) -> None:
    service.memories["s"] = [memory("This is one sentence. " * 400, id=f"0-{number}") for number in range(5)]
    found = RecallTool(session="s", max_tokens=200, top_k=3).run(query="Acme")
    assert 100 * CHARACTERS_PER_TOKEN < len(found) <= 200 * CHARACTERS_PER_TOKEN
    (asked,) = service.recalls()
    assert (asked["top_k"], asked["threshold"]) == (3, 0.15), "the settings of a kickoff's recall"


def test_an_outage_tells_the_agent_that_nothing_is_found(service: FakeService) -> None:
    tool = RecallTool(session="s")
    service.stop()
    assert tool.run(query="Acme") == "Nothing found."


def test_a_tool_without_a_session_raises_and_says_so_in_the_log(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    for use in (lambda: RememberTool().run(content="a fact"), lambda: RecallTool().run(query="Acme")):
        caplog.clear()
        with pytest.raises(SessionMissing, match="session="):
            use()
        assert "is not used" in caplog.text
    assert service.calls == []


def test_a_tool_takes_the_session_of_the_block_or_the_setting(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    with crewmem.session("block"):
        RememberTool().run(content="a fact")
    monkeypatch.setenv("CREWMEM_SESSION", "setting")
    RememberTool().run(content="a fact")
    RememberTool(session=["mine", "shared"]).run(content="a fact")
    RecallTool(session=["mine", "shared"]).run(query="Acme")
    assert [body["session"] for body in service.remembered()] == ["block", "setting", "mine"]
    assert [call["session"] for call in service.recalls()] == [["mine", "shared"]]
    assert RememberTool(session="*").run(content="a fact").startswith("Refused:")
