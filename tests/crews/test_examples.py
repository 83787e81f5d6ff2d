"""Every example runs as its reader would run it, and shows what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewmem.offline_llm import NOTHING_NEW
from support.live import Live, live_service

EXAMPLES = Path(__file__).resolve().parents[2] / "crews" / "examples"
Run = Callable[..., str]
IN_SHORT = "In short: Acme Corp charges 49 dollars"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_service(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture
def run(live: Live, tmp_path: Path) -> Run:
    """`run("01", "argument")` gives what the example prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CREWMEM_", "OPENAI_"))}
    environment |= live.environment() | {"CREWMEM_HOME": str(tmp_path / "home"), "CREWAI_DISABLE_TELEMETRY": "true"}

    def runs(number: str, *arguments: str) -> str:
        (path,) = EXAMPLES.glob(f"{number}_*.[ps][yh]")
        command = ["sh" if path.suffix == ".sh" else sys.executable, str(path), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return runs


def test_every_example_is_in_the_list_and_has_a_test() -> None:
    here, listed = Path(__file__).read_text("utf-8"), (EXAMPLES / "README.md").read_text("utf-8")
    for path in EXAMPLES.glob("[0-9]*.*"):
        assert f"`{path.name}`" in listed and f'run("{path.name[:2]}"' in here, path.name


def test_the_quick_start_remembers(run: Run) -> None:
    assert IN_SHORT in run("01")
    again = run("01")
    assert NOTHING_NEW in again and "2 memories recalled" in again


def test_the_client_by_hand_recalls_what_the_run_before_remembered(run: Run) -> None:
    assert "recalled: []" in run("02")
    again = run("02")
    assert "recalled: [(\"Done for 'Analyse competitor pricing'" in again
    assert "the crew has run to its last line" in again


def test_a_user_sees_nothing_of_another(run: Run) -> None:
    lines = run("03").splitlines()
    assert "version 7" in lines[0] and lines[1] == "user ben, by hand: nothing known"
    assert "version 7" in "\n".join(lines[2:4]) and "user ben, installed: I do not know" in lines[4]


def test_the_shared_session_is_common_knowledge(run: Run) -> None:
    out = run("04")
    assert "by hand: ['The staging cluster is rebuilt every Monday" in out
    plan = out[out.index("installed:") :]
    assert "on-call rota" in plan and "staging cluster" in plan


def test_a_role_keeps_its_memories(run: Run) -> None:
    out = run("05")
    assert "Contract Lawyer: The task names no sources. From memory:\n- Suppliers in Norway" in out
    assert "Software Tester: I do not know" in out


@pytest.mark.parametrize("number", ["06", "07"])
def test_a_crew_in_another_process_plans_with_what_the_first_found(number: str, run: Run) -> None:
    research, strategy = (run("06") if number == "06" else run("07")).split("--- the strategy crew")
    assert IN_SHORT in research
    assert "1. Act on this:" in strategy and "49 dollars per seat" in strategy


def test_the_two_curl_calls_bring_back_what_was_remembered_with_its_score(run: Run) -> None:
    remembered, recalled = map(json.loads, run("08").strip().splitlines())
    first = recalled["memories"][0]
    assert first["content"] == remembered["content"] and 0 < first["score"] <= 1


def test_a_crew_base_project_remembers(run: Run) -> None:
    first, second = run("09").split("second run:")
    assert "Acme charges 49 dollars" in first
    assert NOTHING_NEW in second
    assert "session pricing, Nordic" in second


def test_crewais_own_memory_and_tools_work(run: Run) -> None:
    out = run("10")
    assert out.startswith("Remembered.\nWhat earlier runs found out")
    assert out.count("The launch is planned for the second week of March.") == 2
