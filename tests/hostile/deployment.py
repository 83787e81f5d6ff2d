"""A whole deployment under attack: `crewmem up`, or `consume` and `serve` on Apache Kafka, each as real processes.

The victim and the attacker are two tenants. Each holds the weakest keys that its part needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE
from crewmem_producers.connect import open_log
from crewmem_producers.log import Record
from crewmem_producers.settings import KafkaSettings, load
from support.kafka import free_port
from support.waiting import until

SECONDS = 300
"""What one answer to the victim may take. It is far above the right value: it tells an answer from none."""
CREWMEM = (sys.executable, "-m", "crewmem.cli")


@dataclass
class Deployment:
    """`settings` are CREWMEM_* variables; every command of this deployment runs with them."""

    settings: Mapping[str, str]
    url: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CREWMEM_")}
        return kept | {"OMP_NUM_THREADS": "1"} | dict(self.settings)

    def command(self, *arguments: str) -> str:
        """The output of a command, which must succeed."""
        done = subprocess.run(
            [*CREWMEM, *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *arguments: str, log: Path) -> None:
        with log.open("wb") as out:
            self.processes.append(
                subprocess.Popen([*CREWMEM, *arguments], env=self.environment, stdout=out, stderr=subprocess.STDOUT)
            )

    def ready(self) -> bool:
        assert all(process.poll() is None for process in self.processes), "a process ended"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health/ready", timeout=30, trust_env=False).is_success
        return False

    def make_keys(self) -> None:
        """The victim reads and writes; the attacker has a key that only reads, and one that only writes."""
        for name, tenant, rights in (
            ("victim", "victim", "read,write"),
            ("reader", "attacker", "read"),
            ("writer", "attacker", "write"),
        ):
            made = self.command("keys", "create", "--name", name, "--tenant", tenant, "--session", f"*:{rights}", "--json")
            self.keys[name] = json.loads(made)["key"]

    def call(self, method: str, path: str, *, key: str, seconds: float = SECONDS, **request: Any) -> httpx.Response:
        headers = dict(request.pop("headers", {})) | {"Authorization": f"Bearer {self.keys[key]}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=seconds, trust_env=False, **request)

    def events(
        self, *bodies: Mapping[str, Any], kind: str = "crewmem.memory.remembered", seconds: float = SECONDS
    ) -> httpx.Response:
        """The attacker's batch of events, one for each body."""
        batch = [cloud_event(kind, body) for body in bodies]
        headers = {"Content-Type": BATCH_CONTENT_TYPE}
        return self.call("POST", "/v1/events", key="writer", content=json.dumps(batch), headers=headers, seconds=seconds)

    def append(self, records: Sequence[Record]) -> None:
        """Records straight onto the log, past every door: what a broken or hostile producer writes."""

        async def appended() -> None:
            log = open_log(load(KafkaSettings))
            await log.start()
            try:
                for record in records:
                    await log.append([record])
            finally:
                await log.close()

        with changed_environment(self.settings):
            asyncio.run(appended())

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


_numbers = iter(range(1, 1_000_000_000))


def cloud_event(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"hostile-{os.getpid()}-{next(_numbers)}", "type": kind, "source": "hostile",
        "time": "2026-12-01T12:00:00Z", "data": {"schema_version": 1, "session": "s", **body},
    }  # fmt: skip


@contextlib.contextmanager
def changed_environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def on_one_machine(folder: Path) -> Iterator[Deployment]:
    """`crewmem up`."""
    port = free_port()
    settings = {"CREWMEM_HOME": str(folder / "home"), "CREWMEM_PORT": str(port)}
    yield from _running(Deployment(settings, f"http://127.0.0.1:{port}"), [("up",)], folder)


@contextlib.contextmanager
def on_kafka(folder: Path, *, bootstrap: str, namespace: str) -> Iterator[Deployment]:
    """Two consumers and a service on a broker."""
    port = free_port()
    settings = {
        "CREWMEM_HOME": str(folder / "home"), "CREWMEM_STORE": str(folder / "store"), "CREWMEM_NAMESPACE": namespace,
        "CREWMEM_KAFKA_BOOTSTRAP": bootstrap, "CREWMEM_KAFKA_PARTITIONS": "2",
        "CREWMEM_PORT": str(port), "CREWMEM_CONSUMER_PORT": "0",
        "CREWMEM_ADMIN_KEY": "am_live_" + "0" * 32,
    }  # fmt: skip
    deployment = Deployment(settings, f"http://127.0.0.1:{port}")
    deployment.command("topics", "create")
    yield from _running(deployment, [("serve",), ("consume",), ("consume",)], folder)


def _running(deployment: Deployment, commands: Sequence[tuple[str, ...]], folder: Path) -> Iterator[Deployment]:
    try:
        for number, command in enumerate(commands):
            deployment.start(*command, log=folder / f"{command[0]}-{number}.log")
        until(deployment.ready, 180)
        deployment.make_keys()
        yield deployment
    finally:
        deployment.stop()
