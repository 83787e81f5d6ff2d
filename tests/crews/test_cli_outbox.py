"""`crewmem outbox status`: what it says of an outbox, without a service."""

from __future__ import annotations

import json

import pytest
from crewmem.cli.app import app
from crewmem_producers.destination import outbox_path
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.outbox import Outbox
from crewmem_producers.settings import CrewSettings, load
from crewmem_producers.transport import Refused
from typer.testing import CliRunner


def refused(count: int) -> None:
    """An outbox with so many events that were refused for ever."""
    outbox = Outbox(outbox_path(load(CrewSettings)), max_bytes=10**8)
    scope = Scope.of("default", "s")
    outbox.append([Event(MemoryRemembered(content=str(number)), scope, source="test") for number in range(count)])
    outbox.settle([(row, Refused("too_large")) for row in outbox.batch(max_events=count, max_bytes=10**9)])
    outbox.close()


def test_that_not_every_dead_letter_is_named_is_said() -> None:
    refused(103)
    said = CliRunner().invoke(app, ["outbox", "status"])
    assert said.stderr.count("refused for ever: ") == 100
    assert "and 3 more that were refused for ever later" in said.stderr
    [outbox] = json.loads(CliRunner().invoke(app, ["outbox", "status", "--json"]).stdout)
    assert (outbox["dead_letters"], len(outbox["letters"])) == (103, 100)


def test_a_retry_says_how_many_wait_again_or_that_none_was_refused() -> None:
    refused(1)
    assert "waiting again: 1 event;" in CliRunner().invoke(app, ["outbox", "retry"]).stdout
    assert "no event was refused for ever" in CliRunner().invoke(app, ["outbox", "retry"]).stdout


def test_the_path_of_an_outbox_is_shown_whole_also_where_the_table_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    refused(1)
    outbox = Outbox(outbox_path(load(CrewSettings)), max_bytes=10**8)
    outbox.note_error("the service does not answer, for a reason that takes up a lot of room in a table " * 2)
    outbox.close()
    monkeypatch.setattr("crewmem.cli.console.PIPED_WIDTH", 100)
    assert "…" not in CliRunner().invoke(app, ["outbox", "status"]).stdout


def test_of_few_dead_letters_each_is_named() -> None:
    refused(2)
    said = CliRunner().invoke(app, ["outbox", "status"])
    assert said.stderr.count("refused for ever: ") == 2 and "more" not in said.stderr
