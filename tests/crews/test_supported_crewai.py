"""A version of CrewAI that crewmem does not work with is refused with its number, the range and the commands."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import crewai.hooks.contexts
import crewmem
import pytest
from crewmem import supported_crewai
from crewmem.cli import checks
from crewmem.errors import MissingExtra, UnsupportedCrewAI
from crewmem.supported_crewai import RANGE, unsupported
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import KEY, FakeService, memory

ROOT = Path(__file__).resolve().parents[2]

KICKOFF = """
import json
import crewmem
from crewmem.example_crews import research_crew, strategy_crew
from crewmem.offline_llm import OfflineLLM

class Broken(OfflineLLM):
    def call(self, *args, **options):
        raise ValueError("the model is gone")

crewmem.install(session="s")
said = research_crew("Find prices", llm=OfflineLLM()).kickoff().raw
plan = strategy_crew("Plan", llm=OfflineLLM()).kickoff().raw
try:
    strategy_crew("Plan", llm=Broken()).kickoff()
except ValueError as error:
    said = [str(error), crewmem.last_run().published]
print(json.dumps({"plan": plan, "said": said}))
"""
"""Two crews that end well, one that fails; prints the plan, and how the last one failed."""


def pretend(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(supported_crewai, "installed_version", lambda: version)


@pytest.mark.parametrize("version", ["0.203.1", "1.14.7", "1.15", "1.15.0", "1.15.5", "1.16.0", "1.16.0a1", "2.0.0", "unknown"])
def test_every_door_refuses_a_version_out_of_the_range(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, version)
    for use in (
        lambda: crewmem.install(session="s", api_key="k"),
        lambda: crewmem.MemoryCrew(two_agent_crew(ScriptedLLM()), session="s", api_key="k"),
        lambda: crewmem._loaded("CrewMemory"),
        lambda: crewmem._loaded("RecallTool"),
    ):
        with pytest.raises(UnsupportedCrewAI) as caught:
            use()
        text = str(caught.value)
        assert f"crewai {version} " in text and RANGE in text and "pip install" in text and "uv add" in text
        assert isinstance(caught.value, MissingExtra)
    found = checks.crewai()
    assert found.state is checks.State.FAIL and version in found.said and "uv add" in found.remedy


@pytest.mark.parametrize("version", ["1.15.6", "1.15.30", "1.15.999"])
def test_versions_in_the_range_are_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, version)
    assert unsupported() is None and checks.crewai().state is checks.State.OK


def test_a_version_in_the_range_that_lacks_what_is_hooked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass
    class Older:
        output: object = None

    monkeypatch.setattr(crewai.hooks.contexts, "ExecutionEndContext", Older)
    with pytest.raises(UnsupportedCrewAI, match=r"lacks ExecutionEndContext\.error"):
        crewmem.install(session="s", api_key="k")
    assert checks.crewai().state is checks.State.FAIL
    monkeypatch.setitem(sys.modules, "crewai.hooks.dispatch", None)
    with pytest.raises(UnsupportedCrewAI, match=r"lacks crewai\.hooks\.dispatch"):
        crewmem.install(session="s", api_key="k")


def test_doctor_does_not_ask_for_crewai_where_no_crew_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supported_crewai, "installed_version", lambda: None)
    assert checks.crewai().state is checks.State.SKIP


def test_the_extra_asks_pip_for_the_range_that_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["optional-dependencies"]["crewai"] == [f"crewai{RANGE}"]
    least, below = RANGE.removeprefix(">=").split(",<")
    assert tuple(tuple(map(int, v.split("."))) for v in (least, below)) == (supported_crewai.LEAST, supported_crewai.BELOW)


def environment(folder: Path, requirement: str) -> Path:
    """The Python of a new virtual environment that holds this crewmem and that CrewAI, also one that pip would refuse."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    own = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    for wanted in ([requirement, *own], ["--no-deps", "-e", str(ROOT)]):
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    return python


def run(python: Path, service: FakeService, home: Path) -> subprocess.CompletedProcess[str]:
    own = {"CREWMEM_BASE_URL": service.base_url, "CREWMEM_API_KEY": KEY, "CREWMEM_HOME": str(home)}
    own |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}
    return subprocess.run(
        [python, "-c", KICKOFF], env=os.environ | own, cwd=home, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("requirement", [f"crewai=={RANGE.removeprefix('>=').split(',')[0]}", f"crewai{RANGE}"])
def test_the_least_and_the_newest_version_recall_and_publish(requirement: str, service: FakeService, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", requirement)
    service.memories["s"] = [memory("Globex limits exports to 1,000 rows.")]
    done = run(python, service, tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "1,000 rows" in said["plan"], "only memory knows it"
    assert said["said"] == ["the model is gone", True]
    kinds = [event["type"].rpartition(".")[2] for event in service.kickoffs()]
    assert kinds == ["completed", "completed", "failed"] and len(service.recalls()) == 3
    assert service.kickoffs()[-1]["error"]["message"] == "the model is gone"


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("version", ["1.15.2", "1.15.5"])
def test_versions_below_the_least_are_refused_before_any_kickoff(version: str, service: FakeService, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", f"crewai=={version}")
    done = run(python, service, tmp_path)
    assert done.returncode == 1 and f"UnsupportedCrewAI: crewai {version} is installed" in done.stderr
    assert service.calls == []
