"""The command line where there is a broker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_log
from crewmem_producers.events import RulesApplied
from crewmem_producers.settings import KafkaSettings, load
from support.kafka import free_port
from typer.testing import CliRunner, Result


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
    assert crewmem("keys", "create", "--name", "k").exit_code == 0
    assert json.loads(crewmem("keys", "list", "--json").stdout)[0]["name"] == "k"
    states = {finding["name"]: finding["state"] for finding in json.loads(crewmem("doctor", "--json").stdout)}
    assert (states["log"], states["registry"], states["store"]) == ("ok", "ok", "ok") and states["service"] == "fail"


def test_a_broker_that_does_not_answer_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    for arguments in (["topics", "create"], ["keys", "list"]):
        result = crewmem(*arguments)
        assert result.exit_code == 3 and result.stderr.startswith("crewmem: "), result.output


def test_up_is_for_one_machine_and_says_so_where_a_broker_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_KAFKA_BOOTSTRAP", "broker:9092")
    result = crewmem("up")
    assert result.exit_code == 2 and "crewmem consume" in result.stderr
