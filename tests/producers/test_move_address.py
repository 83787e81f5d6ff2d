"""What was published to a mistaken address is moved to the right one; nothing is lost or doubled by a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_producers.destination import move_address, outbox_path
from crewmem_producers.errors import OutboxFull, SettingsError
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.outbox import Outbox
from crewmem_producers.settings import CrewSettings, load
from support import programs
from typer.testing import CliRunner

WRONG, RIGHT = "http://127.0.0.1:9999", "http://127.0.0.1:8765"
EVENTS = 1_200


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrewSettings]:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path))
    monkeypatch.setenv("CREWMEM_API_KEY", "am_live_1")
    monkeypatch.delenv("CREWMEM_BASE_URL", raising=False)
    yield load(CrewSettings)


def publish(address: str, *contents: str) -> list[str]:
    """The ids of the events that wait for that address."""
    settings = load(CrewSettings, base_url=address)
    events = [Event(body=MemoryRemembered(content=one), scope=Scope.of("default", "s"), source="h") for one in contents]
    with closing(Outbox(outbox_path(settings), max_bytes=10**9)) as outbox:
        outbox.append(events)
    return [event.id for event in events]


def waiting(address: str) -> list[str]:
    with closing(Outbox(outbox_path(load(CrewSettings, base_url=address)), max_bytes=10**9)) as outbox:
        return [row.id for row in outbox.batch(max_events=10**6, max_bytes=10**9)]


def test_what_waits_goes_behind_what_waits_at_the_right_address_in_order(settings: CrewSettings) -> None:
    first, moved = publish(RIGHT, "a"), publish(WRONG, "b", "c")
    assert move_address(settings, old=WRONG, new=RIGHT) == (2, outbox_path(load(CrewSettings, base_url=RIGHT)))
    assert waiting(RIGHT) == first + moved and waiting(WRONG) == []
    assert move_address(settings, old=WRONG, new=RIGHT)[0] == 0


@pytest.mark.parametrize("step", ["inserted", "deleted"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_kill_between_two_steps_loses_and_doubles_nothing(step: str, times: int, settings: CrewSettings) -> None:
    ids = publish(WRONG, *(f"content {number}" for number in range(EVENTS)))
    code = f"""
        import os
        from crewmem_producers.destination import move_address
        from crewmem_producers.settings import CrewSettings, load
        left = {times}
        def kill(name):
            global left
            left -= name == {step!r}
            if not left:
                os.kill(os.getpid(), 9)
        move_address(load(CrewSettings), old={WRONG!r}, new={RIGHT!r}, checkpoint=kill)
    """
    assert programs.run(code).returncode == -9
    there = waiting(RIGHT)
    assert set(there) | set(waiting(WRONG)) == set(ids) and len(set(there)) == len(there)
    move_address(settings, old=WRONG, new=RIGHT)
    assert waiting(RIGHT) == ids and waiting(WRONG) == []


def test_a_target_that_is_full_keeps_the_events_where_they_are(settings: CrewSettings) -> None:
    import random

    noise = random.Random(7)
    ids = publish(WRONG, *(noise.randbytes(4_000).hex() for _ in range(400)))
    with pytest.raises(OutboxFull, match="CREWMEM_OUTBOX_MAX_MB"):
        move_address(settings.model_copy(update={"outbox_max_mb": 1}), old=WRONG, new=RIGHT)
    assert waiting(WRONG) == ids


def test_an_address_that_once_ended_with_v1_is_found_and_kafka_too(settings: CrewSettings) -> None:
    for old in (f"{WRONG}/v1", "broker-1:9092"):
        raw = {"base_url": old} if "://" in old else {"kafka_bootstrap": old}
        with closing(Outbox(outbox_path(settings.model_copy(update=raw)), max_bytes=10**9)) as outbox:
            outbox.append([Event(body=MemoryRemembered(content=old), scope=Scope.of("default", "s"), source="h")])
        assert move_address(settings, old=old, new=RIGHT)[0] == 1
    assert len(waiting(RIGHT)) == 2


def test_an_address_that_nothing_was_published_to_is_refused(settings: CrewSettings) -> None:
    with pytest.raises(SettingsError, match=r"nothing was ever published from here to http://127\.0\.0\.1:9999"):
        move_address(settings, old=WRONG, new=RIGHT)


def test_the_command_says_how_many_were_moved(settings: CrewSettings) -> None:
    publish(WRONG, "a", "b")
    run = CliRunner()
    said = run.invoke(app, ["outbox", "readdress", "--from", WRONG, "--to", RIGHT, "--json"])
    assert said.exit_code == 0 and json.loads(said.stdout)["moved"] == 2
    assert "nothing waits for" in run.invoke(app, ["outbox", "readdress", "--from", WRONG, "--to", RIGHT]).stdout
    refused = run.invoke(app, ["outbox", "readdress", "--from", "http://127.0.0.1:1", "--to", RIGHT])
    assert refused.exit_code == 2 and "outbox status" in refused.stderr
