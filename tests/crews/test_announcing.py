"""The line that a process says after its first kickoff."""

from __future__ import annotations

from pathlib import Path

import crewmem
import pytest
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import KEY, FakeService, memory
from support.stack import free_port


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("crewmem: ")]


def test_the_first_kickoff_says_the_session_what_was_recalled_and_where_to_look(
    installed: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    installed.memories["s"] = [memory("Acme has no API docs"), memory("Acme charges 49 dollars")]
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    (line,) = said(capsys)
    assert line == (
        "crewmem: session 's': 2 memories recalled; output published. Look: `crewmem list --session s`, or crewmem.last_run() "
        "in Python. Hide this line: CREWMEM_ANNOUNCE=off"
    )
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert said(capsys) == []  # once a process


def test_a_session_with_a_blank_can_be_copied_into_a_shell(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    crewmem.install(session=["Acme Inc", "shared"])
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert "crewmem list --session 'Acme Inc' --session shared" in said(capsys)[0]


def test_without_a_service_it_says_so_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    crewmem.install(session="s", base_url=url, api_key=KEY, home=tmp_path, flush_seconds=0.1)
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    (line,) = said(capsys)
    assert "no memory, because the service does not answer; output waits in the outbox (1 waiting)" in line
    assert "`crewmem up`" in line and url in line and "crewmem doctor" in line


def test_a_refused_key_is_named(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    service.fail = (401, "invalid_api_key")
    crewmem.install(session="s", flush_seconds=0.1)
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    (line,) = said(capsys)
    assert "no memory, because of an error" in line and "401" in line


@pytest.mark.parametrize("value", ["off", "false", "0"])
def test_a_setting_hides_it(
    value: str, service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CREWMEM_ANNOUNCE", value)
    crewmem.install(session="s")
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert said(capsys) == []
