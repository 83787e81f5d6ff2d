"""The project that `crewai create crew` makes today: a `crew.jsonc` without a main.py, and a file that it names."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewai.project.crew_loader import load_crew
from crewmem.recall_block import HEADING
from support.fake_service import FakeService, memory

AT_MODULE_LEVEL = """
import crewmem
crewmem.install(session="s")
def remembering(inputs):
    return inputs
"""
IN_THE_CALLBACK = """
import crewmem
def remembering(inputs):
    crewmem.install(session="s")
    return inputs
"""
MODEL = """
from support.crews import ScriptedLLM
model = ScriptedLLM()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "agents").mkdir()
    agent = {"role": "Researcher", "goal": "find facts", "backstory": "reads", "llm": {"python": "scripted.model"}}
    (tmp_path / "agents" / "researcher.jsonc").write_text(json.dumps(agent))
    (tmp_path / "scripted.py").write_text(MODEL)
    crew = {
        "name": "research",
        "agents": ["researcher"],
        "tasks": [{"name": "find", "description": "Research {topic}", "expected_output": "facts", "agent": "researcher"}],
        "before_kickoff_callbacks": [{"python": "remembered.remembering"}],
    }
    (tmp_path / "crew.jsonc").write_text("// made by crewai create\n" + json.dumps(crew))
    yield tmp_path
    for name in ("remembered", "scripted"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("code", [AT_MODULE_LEVEL, IN_THE_CALLBACK], ids=["at module level", "in the callback"])
def test_a_project_without_a_main_file_remembers(code: str, project: Path, service: FakeService) -> None:
    service.memories["s"] = [memory("Acme has no API docs")]
    (project / "remembered.py").write_text(code)
    crew, _ = load_crew(project / "crew.jsonc")
    crew.kickoff({"topic": "prices"})
    (prompt,) = crew.agents[0].llm.prompts
    assert HEADING in prompt and "Acme has no API docs" in prompt
    (event,) = service.kickoffs()
    assert (event["session"], event["type"]) == ("s", "crewmem.kickoff.completed")
