"""`crewmem events show`: the whole story of an event."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crewmem.cli.app import app
from crewmem_producers.connect import open_registry
from crewmem_producers.events import Event, EventDiscarded, PositionRef
from crewmem_producers.log import Record
from crewmem_producers.settings import StoreSettings, load
from crewmem_store import generations
from support.made_home import made_home
from support.pipeline import START, erase, forget, kickoff, remember
from typer.testing import CliRunner, Result

DISCARDED = EventDiscarded(position=PositionRef(partition=0, offset=3), event_id="broken")
ON_LOG: tuple[Event | Record, ...] = (
    remember("Globex raised its seat price to 49 dollars.", number=0),
    kickoff("Acme has 120 people in Lyon.", "I don't know.", number=1),
    remember("Globex raised its seat price to 49 dollars.", number=2),
    Record(key=b"default/none", value=b"{", headers=(("ce_id", b"broken"), ("x", b"\x1b[2Jgone"))),
    forget(("event-00001", "task/0"), number=4),
    remember("The budget is 10 thousand.", number=5, key="budget", session="money"),
    remember("The budget is 12 thousand.", number=6, key="budget", session="money"),
    remember("The password is hunter2 for all of them.", number=7),
    remember("Soon gone.", number=8, session="gone", ttl=5.0),
    erase(number=9, session="gone"),
    Event(
        body=EventDiscarded(position=PositionRef(partition=0, offset=3), event_id="broken"), scope=None, id="fact", time=START
    ),
    remember("Only for a moment.", number=11, ttl=5.0),
    remember("It came last.", number=12),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_home(tmp_path_factory.mktemp("home"), on_log=ON_LOG)


@pytest.fixture(autouse=True)
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_HOME", str(home))


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(asked: str) -> Any:
    done = crewmem("events", "show", asked, "--json")
    assert done.exit_code == 0, done.output
    [record] = json.loads(done.stdout)
    return record


def memory(asked: str) -> Any:
    [generation] = told(asked)["generations"]
    return generation["spans"][0]["memory"]


def test_a_story_has_the_record_its_outcome_and_why_and_its_memories() -> None:
    record = told("event-00000")
    assert record["position"] == {"partition": 0, "offset": 0} and record["type"] == "crewmem.memory.remembered"
    assert record["body"]["content"] == "Globex raised its seat price to 49 dollars."
    assert ["content-encoding", "zstd"] in record["headers"] and record["key"].startswith("default/")
    [generation] = record["generations"]
    assert (generation["generation"], generation["active"], generation["outcome"]) == ("g1", True, "stored")
    [span] = generation["spans"]
    assert (span["span"], span["rule"], span["outcome"]) == ("content", "explicit", "stored") and span["why"]
    assert span["memory"]["state"] == "current"
    assert [one["event_id"] for one in span["memory"]["duplicates"]] == ["event-00002"]


def test_a_story_is_found_by_the_position_too() -> None:
    assert told("0/2") == told("event-00002")
    assert memory("0/2")["state"] == "duplicate" and memory("0/2")["duplicate_of"].startswith("0-")


def test_a_forgotten_memory_names_the_event_that_took_it() -> None:
    [generation] = told("event-00001")["generations"]
    by_span = {span["span"]: span for span in generation["spans"]}
    assert by_span["task/0"]["memory"]["state"] == "forgotten" and by_span["task/0"]["memory"]["text"] is None
    assert by_span["task/0"]["memory"]["forgotten_by"] == {
        "type": "crewmem.memory.forgotten", "event_id": "event-00004", "offset": 4,
    }  # fmt: skip
    assert by_span["task/1"]["outcome"] == "dropped" and "memory" not in by_span["task/1"]
    assert memory("event-00008")["forgotten_by"]["type"] == "crewmem.session.forgotten"


def test_superseded_and_expired_memories_say_so() -> None:
    assert (memory("event-00005")["state"], memory("event-00006")["state"]) == ("superseded", "current")
    assert memory("event-00005")["superseded_at"].startswith("2026-01-02T")
    assert memory("event-00011")["state"] == "expired"


def test_a_dead_letter_says_what_became_of_it() -> None:
    [generation] = told("broken")["generations"]
    assert generation["outcome"] == "dead_letter" and generation["reason"] == "bad_header"
    assert generation["dead_letter"] == {
        "state": "discarded", "facts": [{"type": "crewmem.event.discarded", "offset": 10, "event_id": "fact"}],
    }  # fmt: skip


def test_what_was_not_processed_yet_is_found_on_the_log() -> None:
    record = told("event-00012")
    assert record["body"]["content"] == "It came last."
    assert record["generations"] == [{"generation": "g1", "active": True, "outcome": None, "waits": True}]


def test_secrets_of_a_body_are_not_shown() -> None:
    for asked in (["event-00007"], ["event-00007", "--json"]):
        shown = crewmem("events", "show", *asked).stdout
        assert "redacted" in shown and "hunter2" not in shown


def test_people_read_the_same_in_lines() -> None:
    shown = crewmem("events", "show", "event-00001").stdout
    for said in ("crewmem.kickoff.completed event-00001 at 0/1", "g1 (answers recalls): stored", "event-00004 at offset 4"):
        assert said in shown
    assert "dead letter: discarded (crewmem.event.discarded at offset 10)" in crewmem("events", "show", "0/3").stdout
    assert "still waits" in crewmem("events", "show", "event-00012").stdout


def test_nothing_is_printed_that_a_terminal_would_obey() -> None:
    assert "\x1b" not in crewmem("events", "show", "0/3").stdout


@pytest.mark.parametrize("asked", ["event-99999", "0/99", "7/0"])
def test_what_nobody_knows_is_said(asked: str) -> None:
    done = crewmem("events", "show", asked)
    assert done.exit_code == 4 and asked in done.stderr


def test_every_generation_that_lives_tells_its_part(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    monkeypatch.setenv("CREWMEM_HOME", str(copy))

    async def add() -> None:
        registry = open_registry(load(StoreSettings, home=copy))
        await registry.start()
        first = generations.named(registry, "g1")
        await generations.save(registry, replace(first, name="g2"))
        await registry.close()

    asyncio.run(add())
    assert [one["outcome"] for one in told("event-00000")["generations"]] == ["stored", None]


def listed(*arguments: str) -> list[dict[str, Any]]:
    done = crewmem("events", "list", "--json", *arguments)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_story_is_told_of_a_memorys_id_too() -> None:
    [record] = json.loads(crewmem("events", "show", "event-00000", "--json").stdout)
    memory = next(span["memory"]["id"] for span in record["generations"][0]["spans"] if span.get("memory"))
    assert told(memory)["event_id"] == "event-00000"
    missing = crewmem("events", "show", f"0-{'0' * 32}")
    assert missing.exit_code != 0 and "Traceback" not in missing.output


def test_the_newest_events_are_listed_with_their_outcome() -> None:
    found = listed("--limit", "3")
    assert [one["event_id"] for one in found] == ["fact", "event-00011", "event-00012"]
    assert [one["outcome"] for one in found] == ["applied", "stored", None]
    assert found[1]["position"] == "0/11"


def test_a_list_is_narrowed_by_each_filter() -> None:
    assert [one["event_id"] for one in listed("--session", "money")] == ["event-00005", "event-00006"]
    assert [one["event_id"] for one in listed("--type", "kickoff.completed")] == ["event-00001"]
    assert [one["event_id"] for one in listed("--outcome", "dead_letter")] == ["broken"]
    assert listed("--since", "2100-01-01T00:00:00Z") == []
    assert crewmem("events", "list", "--since", "soon").exit_code == 2
    assert "\x1b" not in crewmem("events", "list").stdout


def test_sessions_are_listed_with_how_many_memories_they_have() -> None:
    done = crewmem("sessions", "list", "--json")
    assert done.exit_code == 0, done.output
    found = {one["session"]: one["memories"] for one in json.loads(done.stdout)}
    assert found["money"] == 2 and "gone" not in found
    assert [one["session"] for one in json.loads(crewmem("sessions", "list", "--prefix", "mon", "--json").stdout)] == ["money"]
    assert "money" in crewmem("sessions", "list").stdout
