"""The docker compose stack as a test drives it: a project of its own, free ports, everything removed afterwards."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
CREW = ROOT / "tests" / "stack" / "crew.py"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Stack:
    """`files` are compose files; `settings` go into compose's environment."""

    def __init__(self, *files: str, settings: Mapping[str, str] | None = None) -> None:
        self.project = f"crewmemtest{secrets.token_hex(4)}"
        self.key = f"am_live_{secrets.token_hex(16)}"
        self.port, self.kafka_port = free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.bootstrap = f"127.0.0.1:{self.kafka_port}"
        self._files = [argument for file in files or ("docker-compose.yml",) for argument in ("-f", str(ROOT / file))]
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "CREWMEM_ADMIN_KEY": self.key,
            "CREWMEM_PORT": str(self.port),
            "KAFKA_PORT": str(self.kafka_port),
            "CREWMEM_KAFKA_PARTITIONS": "4",
            **(settings or {}),
        }

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Runs docker compose; what it printed, or a failure that shows it."""
        command = ["docker", "compose", "--project-name", self.project, *self._files, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=900)
        if check and done.returncode:
            logs = self.compose("logs", "--tail=40", check=False) if "up" in arguments else ""
            raise AssertionError(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}{logs}")
        return done.stdout

    def up(self) -> None:
        self.compose("up", "--build", "--detach", "--wait", "--wait-timeout", "300")

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One REST call with the stack's key; the answer must be a success."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.request(method, self.base_url + path, headers=headers, timeout=60, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        body: dict[str, Any] = answer.json()
        return body

    def contents(self, session: str) -> list[str]:
        """The content of every memory of the session."""
        found: list[str] = []
        while True:
            page = self.call("GET", "/v1/memory/list", params={"session": session, "limit": 100, "offset": len(found)})
            found += [memory["content"] for memory in page["memories"]]
            if len(found) >= page["total"] or not page["memories"]:
                return found

    def crew(self, *arguments: str, home: Path, kafka: bool) -> str:
        """Runs tests/stack/crew.py in a process outside the stack; what it printed."""
        return self.script(CREW, *arguments, home=home, kafka=kafka)

    def script(self, path: Path, *arguments: str, home: Path, kafka: bool = False) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CREWMEM_", "OPENAI_"))}
        environment |= {"CREWMEM_BASE_URL": self.base_url, "CREWMEM_API_KEY": self.key, "CREWMEM_HOME": str(home)}
        if kafka:
            environment["CREWMEM_KAFKA_BOOTSTRAP"] = self.bootstrap
        command = [sys.executable, str(path), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr
        return done.stdout
