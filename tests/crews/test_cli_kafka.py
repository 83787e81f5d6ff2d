"""The command line where there is a broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem.cli.app import app
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_log
from crewmem_producers.events import RulesApplied
from crewmem_producers.settings import KafkaSettings, load
from support.kafka import free_port
from support.waiting import until
from typer.testing import CliRunner, Result

SECONDS = 170


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def broker(kafka: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"KAFKA_BOOTSTRAP": kafka, "NAMESPACE": namespace, "KAFKA_PARTITIONS": "3"}.items():
        monkeypatch.setenv(f"CREWMEM_{name}", value)


async def rules_on_the_log() -> list[int]:
    """How many rule files each partition has."""
    log = open_log(load(KafkaSettings))
    await log.start()
    found = [await log.read(number, 0) for number in range(log.partitions)]
    await log.close()
    return [sum(isinstance(decode(record).body, RulesApplied) for record in records) for records in found]


@pytest.mark.kafka
@pytest.mark.usefixtures("broker")
def test_topics_are_made_once_with_the_default_rules_and_rules_go_to_every_partition(tmp_path: Path) -> None:
    before = crewmem("doctor")
    assert before.exit_code == 1 and "crewmem topics create" in before.stdout
    first = crewmem("topics", "create", "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["partitions"] == 3 and json.loads(first.stdout)["default_rules_applied"] is True
    assert json.loads(crewmem("topics", "create", "--json").stdout)["default_rules_applied"] is False
    assert asyncio.run(rules_on_the_log()) == [1, 1, 1]
    (tmp_path / "r.yaml").write_text("version: 1\nrules:\n  - name: all\n    action: keep\n")
    assert crewmem("rules", "apply", str(tmp_path / "r.yaml")).exit_code == 0
    assert asyncio.run(rules_on_the_log()) == [2, 2, 2]
    assert crewmem("keys", "create", "--name", "k", "--session", "*").exit_code == 0
    assert json.loads(crewmem("keys", "list", "--json").stdout)[0]["name"] == "k"
    states = {finding["name"]: finding["state"] for finding in json.loads(crewmem("doctor", "--json").stdout)}
    assert (states["log"], states["registry"], states["store"]) == ("ok", "ok", "ok") and states["service"] == "fail"


@contextmanager
def running(*commands: str) -> Iterator[None]:
    """Each command as a process of its own; SIGTERM ends them, cleanly."""
    processes = [
        subprocess.Popen([sys.executable, "-m", "crewmem.cli", command], env={**os.environ, "OMP_NUM_THREADS": "1"})
        for command in commands
    ]
    try:
        yield
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(timeout=SECONDS) for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def printed(*arguments: str) -> Any:
    """The JSON that a command prints, which must succeed."""
    done = crewmem(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.kafka
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("broker")
def test_consume_and_serve_and_a_replay_while_they_run_and_once_they_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, key = free_port(), "am_live_" + "0" * 32
    settings = {"PORT": port, "CONSUMER_PORT": 0, "ADMIN_KEY": key, "API_KEY": key, "BASE_URL": f"http://127.0.0.1:{port}"}
    for name, value in (settings | {"STORE": tmp_path / "store"}).items():
        monkeypatch.setenv(f"CREWMEM_{name}", str(value))
    printed("topics", "create")
    with running("consume", "serve"):
        until(lambda: ready(port), SECONDS)
        made = [printed("remember", content, "--session", "s") for content in ("Acme charges 49 dollars.", "Bolt has no SSO.")]
        [found] = printed("recall", "what Acme charges", "--session", "s", "--top-k", "1")["memories"]
        assert (found["id"], found["content"]) == (made[0]["id"], "Acme charges 49 dollars.")
        replayed = printed("replay")
        assert (replayed["generation"], replayed["outcomes"]) == ("g2", {"applied": 3, "stored": 2})
        assert (replayed["embedded"], replayed["reused"]) == (0, 0), "the consumer did the work"
        [found] = printed("recall", "what Acme charges", "--session", "s", "--top-k", "1")["memories"]
        assert (found["id"], found["content"]) == (made[0]["id"], "Acme charges 49 dollars.")
    replayed = printed("replay")
    assert (replayed["generation"], replayed["outcomes"]) == ("g3", {"applied": 3, "stored": 2})
    assert (replayed["embedded"], replayed["reused"]) == (0, 2)
    for generation, active in zip(printed("stats"), (False, False, True), strict=True):
        assert generation["active"] is active
        assert [one["lag"] for one in generation["partitions"]] == [0, 0, 0]
        assert sum(one["processed"] for one in generation["partitions"]) == 5


def ready(port: int) -> bool:
    """Whether the service there can answer recalls: it runs, and a consumer has made the first generation."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=30, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_broker_that_does_not_answer_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("CREWMEM_KAFKA_WAIT_SECONDS", "0")
    for arguments in (["topics", "create"], ["keys", "list"]):
        result = crewmem(*arguments)
        assert result.exit_code == 3 and result.stderr.startswith("crewmem: "), result.output


def test_up_is_for_one_machine_and_says_so_where_a_broker_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_KAFKA_BOOTSTRAP", "broker:9092")
    result = crewmem("up")
    assert result.exit_code == 2 and "crewmem consume" in result.stderr
