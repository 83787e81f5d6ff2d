"""`crewmem up` as a real process: what it prints, what it holds, how it stops, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem.cli.app import app
from crewmem.cli.listening import in_container
from support.waiting import until
from typer.testing import CliRunner, Result

SECONDS = 170
pytestmark = pytest.mark.timeout(600)


class Up:
    """One `crewmem up` that says `ready`, or does not."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "crewmem.cli", "up", "--home", str(home), *arguments]
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        watch = threading.Timer(SECONDS, self.process.kill)
        watch.start()
        assert self.process.stdout is not None
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line == "ready\n":
                break
        watch.cancel()

    def said(self, name: str) -> str | None:
        """The value behind a printed name."""
        return next((line.removeprefix(name).strip() for line in self.lines if line.startswith(f"{name}  ")), None)

    def end(self, number: int) -> tuple[int, str]:
        """Sends a signal; exit code and stderr."""
        self.process.send_signal(number)
        _, complaints = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, complaints


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*arguments: str) -> Up:
        started.append(Up(tmp_path / "home", *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def crewmem(*arguments: str, home: Path) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"CREWMEM_HOME": str(home)})


def process(*arguments: str, home: Path) -> str:
    """The command in a process of its own, which must succeed; its stdout."""
    command = [sys.executable, "-m", "crewmem.cli", *arguments]
    environ = {**os.environ, "CREWMEM_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(url: str, key: str, method: str, path: str, **what: Any) -> Any:
    response = httpx.request(
        method, url + path, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False, **what
    )
    assert response.status_code < 300, response.text
    return response.json()


def consumer_says(url: str) -> tuple[str, int | None]:
    """How it is, and how many records wait: it counts them every few seconds."""
    said = httpx.get(f"{url}/consumer/health/ready", trust_env=False).json()
    return said["status"], said["generations"]["g1"]["0"]["lag"]


def consumer_counts(url: str) -> set[str]:
    return set(httpx.get(f"{url}/consumer/metrics", trust_env=False).text.splitlines())


def test_a_first_start_a_kill_and_a_second_start(up: Callable[..., Up], tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = up("--port", "0")
    url, key, key_file = first.said("url"), (first.said("key") or "").split()[0], Path(first.said("key file") or "")
    assert url and first.said("data") == str(home) and first.lines[-1] == "ready"
    assert key_file == home / "api_key" and key_file.read_text().strip() == key
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert first.said("master key") == str(home / "master_key")
    assert stat.S_IMODE((home / "master_key").stat().st_mode) == 0o600

    said = {"content": "Acme Corp publishes no price for its enterprise plan", "session": "project_alpha"}
    made = ask(url, key, "POST", "/v1/memory/remember", json=said | {"wait_seconds": 30})
    asked = {"q": "what Acme charges enterprises", "session": "project_alpha"}
    [memory] = ask(url, key, "GET", "/v1/memory/recall", params=asked)["memories"]
    assert (memory["content"], memory["id"]) == (said["content"], made["id"])
    assert 0.5 < memory["score"] <= 1
    assert ask(url, key, "GET", "/v1/memory/recall", params=asked | {"session": "project_beta"})["count"] == 0

    until(lambda: consumer_says(url) == ("ok", 0))
    assert {'crewmem_records_total{outcome="stored"} 1.0', 'crewmem_waiting{part="store"} 0.0'} <= consumer_counts(url)
    accepted = ask(
        url, key, "POST", "/v1/memory/remember", json=said | {"content": "said at the last moment", "wait_seconds": 0}
    )
    assert accepted["token"]
    first.end(signal.SIGKILL)

    second = up("--port", url.rpartition(":")[2])
    assert second.said("url") == url and second.said("key") is None, "the key is shown once"
    found = ask(url, key, "GET", "/v1/memory/recall", params=asked | {"after": "latest", "wait_seconds": 30})["memories"]
    assert sorted(memory["content"] for memory in found) == [said["content"], "said at the last moment"]
    rules = json.loads(crewmem("rules", "explain", memory["event_id"], "--json", home=home).stdout)
    assert [span["rule"] for span in rules[0]["spans"]] == ["explicit"]
    stats = json.loads(crewmem("stats", "--json", home=home).stdout)
    assert stats[0]["partitions"][0]["outcomes"] == {"applied": 1, "stored": 2}, "the default rules were applied once"

    code, complaints = second.end(signal.SIGTERM)
    assert code == 0 and "Traceback" not in complaints and complaints.rstrip().endswith("stopped")


def test_memory_is_computed_again_from_the_log_and_answers_from_the_new_generation(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    running = up("--port", "0")
    url, key = running.said("url") or "", (running.said("key") or "").split()[0]
    kept, forgotten = (
        ask(url, key, "POST", "/v1/memory/remember", json={"content": content, "session": "s", "wait_seconds": 30})
        for content in ("Acme Corp charges 49 dollars per seat.", "Bolt Ltd has 120 employees.")
    )
    assert ask(url, key, "DELETE", f"/v1/memory/forget/{forgotten['id']}", params={"wait_seconds": 30})["deleted"]
    while_it_serves = json.loads(process("replay", "--json", home=home))
    assert (while_it_serves["generation"], while_it_serves["replaced"]) == ("g2", "g1")
    assert (while_it_serves["embedded"], while_it_serves["reused"]) == (1, 1), "the command did the work, beside `crewmem up`"
    asked = {"q": "who charges what", "session": "s", "after": "latest", "wait_seconds": 30}
    [found] = ask(url, key, "GET", "/v1/memory/recall", params=asked)["memories"]
    assert (found["id"], found["content"]) == (kept["id"], kept["content"])
    running.end(signal.SIGTERM)

    replayed = json.loads(process("replay", "--json", home=home))
    assert (replayed["generation"], replayed["replaced"]) == ("g3", "g2")
    assert replayed["outcomes"] == {"applied": 2, "stored": 2}
    assert (replayed["embedded"], replayed["reused"]) == (1, 1), "what was forgotten left no vector to take over"
    stats = json.loads(crewmem("stats", "--json", home=home).stdout)
    assert [(one["name"], one["active"], one["partitions"][0]["lag"]) for one in stats] == [
        ("g1", False, 0),
        ("g2", False, 0),
        ("g3", True, 0),
    ]

    up("--port", url.rpartition(":")[2])
    for after in (None, "latest"):
        asked = {"q": "who charges what", "session": "s"} | ({"after": after} if after else {})
        found = ask(url, key, "GET", "/v1/memory/recall", params=asked)["memories"]
        assert [(memory["id"], memory["content"]) for memory in found] == [(kept["id"], kept["content"])]


def test_a_second_up_on_the_same_home_and_a_port_in_use_are_refused_with_the_remedy(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    first = up("--port", "0")
    again = crewmem("up", "--port", "0", home=tmp_path / "home")
    assert again.exit_code == 4 and f"process {first.process.pid}" in again.stderr and "--home" in again.stderr
    port = (first.said("url") or "").rpartition(":")[2]
    taken = crewmem("up", "--port", port, home=tmp_path / "other")
    assert taken.exit_code == 4 and "--port" in taken.stderr
    code, complaints = first.end(signal.SIGINT)
    assert code == 0 and "Traceback" not in complaints


def test_commands_on_that_machine_need_no_setting_but_home_whatever_the_port(up: Callable[..., Up], tmp_path: Path) -> None:
    running = up("--port", "0")
    home = tmp_path / "home"
    made = crewmem("remember", "The client prefers email over calls", "--session", "s", "--kind", "preference", home=home)
    assert made.exit_code == 0, made.stderr
    assert "prefers email" in crewmem("recall", "how to reach the client", "--session", "s", home=home).stdout
    assert json.loads(crewmem("list", "--session", "s", "--json", home=home).stdout)["total"] == 1
    checked = crewmem("doctor", "--json", home=home)
    assert checked.exit_code == 0, checked.stdout + checked.stderr
    assert {finding["name"]: finding["state"] for finding in json.loads(checked.stdout)}["key"] == "ok"
    assert crewmem("forget", made.stdout.strip(), home=home).stdout.startswith("forgotten")
    crewmem("remember", "one", "--session", "s", home=home)
    gone = crewmem("forget", "--session", "s", "--yes", home=home)
    assert gone.exit_code == 0 and gone.stdout.startswith("forgotten"), gone.stderr
    assert json.loads(crewmem("list", "--session", "s", "--json", home=home).stdout)["total"] == 0
    shown = json.loads(crewmem("config", "show", "--json", home=home).stdout)
    assert (shown["base_url"]["value"], shown["base_url"]["from"]) == (running.said("url"), str(home / "address"))
    running.end(signal.SIGTERM)
    assert not (home / "address").exists()


def test_where_it_listens_on_every_address_it_prints_one_that_a_crew_can_call(up: Callable[..., Up], tmp_path: Path) -> None:
    running = up("--port", "0", "--host", "0.0.0.0")
    url, key = running.said("url") or "", (running.said("key") or "").split()[0]
    assert "0.0.0.0" not in url
    assert ask(url, key, "GET", "/v1/memory/list", params={"session": "s"})["total"] == 0
    assert crewmem("list", "--session", "s", "--json", home=tmp_path / "home").exit_code == 0
    port = url.rpartition(":")[2]
    complaints = running.end(signal.SIGTERM)[1]
    assert f"CREWMEM_BASE_URL={url}" in complaints
    assert (f"--publish PORT:{port}" in complaints) == in_container()
