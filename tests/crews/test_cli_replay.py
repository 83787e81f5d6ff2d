"""`crewmem replay` and `crewmem generations`, on a machine where no consumer runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from crewmem.cli.app import app
from crewmem_consumers.opening import only_consumer
from crewmem_producers.connect import open_log
from crewmem_producers.settings import ConsumerSettings, KafkaSettings
from crewmem_store.embedder_hashing import HashingEmbedder
from support.kafka import free_port
from support.logged import remembered_record
from typer.testing import CliRunner, Result


class Sized(HashingEmbedder):
    """Named by its dimensions."""

    def __init__(self, name: str, **how: Any) -> None:
        super().__init__(dimensions=int(name.removeprefix("hashing")))
        self.name = name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of five memories, and embedders that need no model."""
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path))
    monkeypatch.setenv("CREWMEM_EMBEDDER", "hashing384")
    monkeypatch.setattr("crewmem_consumers.opening.opens", Sized)

    asyncio.run(fill(tmp_path))
    return tmp_path


async def fill(home: Path) -> None:
    log = open_log(KafkaSettings(home=home))
    await log.start()
    await log.append([remembered_record(number) for number in range(5)])
    await log.close()


def crewmem(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_replays_and_generations(home: Path) -> None:
    assert "no generation yet" in crewmem("generations", "list").output
    first = crewmem("replay").stdout
    assert "g1 answers recalls now" in first
    assert "5 records: 5 stored" in first
    assert "5 texts embedded, 0 vectors taken over" in first
    built = crewmem("replay", "--no-activate").stdout
    assert "g2 has caught up; `crewmem generations activate g2` lets it answer" in built
    crewmem("generations", "drop", "g1", code=4)
    assert json.loads(crewmem("generations", "activate", "g2", "--json").stdout) == {"active": "g2", "replaced": "g1"}
    listed = json.loads(crewmem("generations", "list", "--json").stdout)
    assert [(one["name"], one["active"], one["processed"], one["lag"]) for one in listed] == [
        ("g1", False, 5, 0),
        ("g2", True, 5, 0),
    ]
    assert "answers recalls" in crewmem("generations", "list").stdout


def test_moving_to_another_embedder_and_only_to_what_is_newer(home: Path) -> None:
    crewmem("replay")
    moved = json.loads(
        crewmem("replay", "--embedder", "hashing32", "--since", "2026-01-02T03:04:07", "--json").stdout
    )  # fmt: skip
    assert moved["outcomes"] == {"dropped": 2, "stored": 3}
    assert (moved["generation"], moved["replaced"], moved["embedded"]) == ("g2", "g1", 3)
    [_, answers] = json.loads(crewmem("generations", "list", "--json").stdout)
    assert (answers["embedder"], answers["dimensions"], answers["since"]) == ("hashing32", 32, "2026-01-02T03:04:07.000000Z")


def test_a_second_consumer_of_one_machine_is_refused_and_told_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_CONSUMER_PORT", str(free_port()))
    monkeypatch.setattr("crewmem_store.embedders.open_embedder", Sized)
    with only_consumer(ConsumerSettings(home=home)):
        for command in (["consume"], ["up", "--port", "0"]):
            said = " ".join(crewmem(*command, code=4).stderr.split())
            assert "(`crewmem up` or `crewmem consume`): stop it, then try again" in said and "Traceback" not in said


def test_what_is_left_of_a_lost_registry_is_named_and_can_be_dropped(home: Path) -> None:
    for _ in range(2):
        crewmem("replay")
    for path in home.glob("log.sqlite3*"):
        path.unlink()
    asyncio.run(fill(home))
    assert "g3 answers recalls now" in crewmem("replay").stdout
    assert json.loads(crewmem("generations", "drop", "g2", "--json").stdout) == {"dropped": "g2"}
    crewmem("generations", "drop", "g2", code=4)


def test_a_fourth_generation_and_what_is_no_time_are_refused(home: Path) -> None:
    for _ in range(3):
        crewmem("replay")
    assert "crewmem generations drop" in crewmem("replay", code=4).output
    assert "2026-01-31" in crewmem("replay", "--since", "yesterday", code=2).output
    assert "no generation g9" in crewmem("generations", "activate", "g9", code=4).output


def test_where_there_is_no_log_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "none"))
    crewmem("replay", code=2)
    crewmem("generations", "list", code=2)
    assert not (tmp_path / "none").exists()


def test_rules_can_be_tried_before_they_are_applied(home: Path) -> None:
    crewmem("replay")
    file = home / "new.yaml"
    file.write_text(
        "version: 1\nrules:\n  - {name: fact3, when: 'text.contains(\"Fact3a\")', action: drop, why: a test}\n"
        "  - {name: rest, when: 'true', action: keep, why: a test}\n"
    )
    tried = json.loads(crewmem("rules", "try", str(file), "--json").stdout)
    assert tried["counts"] == {"appear": 0, "disappear": 0, "change": 0}, "what is remembered is never dropped"
    assert {one["rule"]: (one["kept"], one["kept_now"]) for one in tried["rules"]} == {
        "fact3": (1, 0),
        "rest": (4, 0),
        "explicit": (0, 5),
    }
    shown = crewmem("rules", "try", str(file), "--since", "2026-01-02").stdout
    assert "5 events that can become memories" in shown
    assert "0 would disappear" in shown
    file.write_text("version: 1\nrules: [{}]\n")
    crewmem("rules", "try", str(file), code=2)
