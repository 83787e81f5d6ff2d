"""`crewmem demo`: the story holds on a real stack, and a story that does not hold fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from crewmem.cli.demo import command, isolation
from crewmem.cli.demo.claims import Claims, mentions
from crewmem.cli.demo.stack import Stack
from crewmem.cli.errors import CheckFailed
from crewmem_producers.errors import ServiceUnavailable

SECONDS = 800
DEMO = (sys.executable, "-m", "crewmem.cli", "demo")


@pytest.mark.timeout(900)
def test_the_story_holds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    settings_of_the_caller = {"CREWMEM_STORE": str(tmp_path / "mine"), "CREWMEM_SESSION": "mine", "CREWMEM_PORT": "1"}
    done = subprocess.run(
        DEMO,
        env=os.environ | settings_of_the_caller | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout and re.search(r"(\d+) of \1 claims hold", done.stdout)
    assert "offline stand-in" in done.stdout, "it says which model answers"
    processes = [int(number) for number in re.findall(r"process (\d+)", done.stdout)]
    assert len(set(processes)) >= 6, "two stacks and four crews, each a process of its own"
    assert not [number for number in processes if psutil.pid_exists(number) and _is_ours(number)]
    assert list(tmp_path.iterdir()) == [], "its folder is gone, and nothing was written where the caller keeps memory"


def _is_ours(number: int) -> bool:
    try:
        return "crewmem" in " ".join(psutil.Process(number).cmdline())
    except psutil.Error:
        return False


@pytest.mark.timeout(300)
def test_a_demo_that_is_told_to_end_takes_its_stack_with_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        DEMO, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert demo.stdout is not None
    line = next(line for line in demo.stdout if "runs as process" in line)
    [stack] = re.findall(r"process (\d+)", line)
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=120)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not (psutil.pid_exists(int(stack)) and _is_ours(int(stack)))
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_does_not_hold_fails_the_demo_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from crewmem.cli.demo import story

    def tell(self: story.Story) -> None:
        self._claim("water is wet", True)
        self._claim("pigs fly", False)

    monkeypatch.setattr(story.Story, "tell", tell)
    monkeypatch.setattr(story, "Service", lambda stack: None)
    monkeypatch.setattr(Stack, "start", lambda self: None)
    monkeypatch.setattr(isolation, "isolate", lambda folder: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(CheckFailed, match="pigs fly"):
        command.demo()


def test_how_a_real_model_words_its_answers_is_not_held_against_it() -> None:
    claims = Claims()
    claims.check("the answer names Acme", False, binding=False)
    assert not claims.broken
    claims.check("something was recalled", False)
    assert [claim.says for claim in claims.broken] == ["something was recalled"]


def test_names_are_found_whatever_their_case() -> None:
    assert mentions("ACME and globex", ("Acme", "Globex", "Initech")) == ["Acme", "Globex"]


def test_a_stack_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(ServiceUnavailable, match="CREWMEM_HOME"):
        Stack(tmp_path / "home").start()


def test_the_caller_s_settings_are_taken_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    environ = {"CREWMEM_STORE": "s3://mine", "PATH": "/bin", "OPENAI_API_KEY": "k"}
    isolation.isolate(tmp_path, environ)
    assert "CREWMEM_STORE" not in environ and environ["PATH"] == "/bin" and environ["OPENAI_API_KEY"] == "k"
    assert Path(environ["CREWMEM_CONFIG"]).read_text() == ""
