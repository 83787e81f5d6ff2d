"""`crewmem dlq`: beside a consumer that runs, on SQLite and on Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crewmem.cli.app import app
from crewmem_producers.codec import encode
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.settings import KafkaSettings, load
from crewmem_store.embedder_hashing import HashingEmbedder
from processes.harness import Stack, stack
from support.logged import remembered
from typer.testing import CliRunner, Result


def crewmem(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def printed(*arguments: str) -> Any:
    """The JSON that a command prints, which must succeed."""
    done = crewmem("dlq", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def made(request: pytest.FixtureRequest, tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A consumer process over a log, and the settings of a shell beside it."""
    bootstrap = request.getfixturevalue("kafka") if request.param == "kafka" else None
    partitions = 2 if bootstrap else 1
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=bootstrap, partitions=partitions) as running:
        monkeypatch.setenv("CREWMEM_HOME", str(running.home))
        monkeypatch.setenv("CREWMEM_NAMESPACE", namespace)
        if bootstrap:
            monkeypatch.setenv("CREWMEM_KAFKA_BOOTSTRAP", bootstrap)
            monkeypatch.setenv("CREWMEM_KAFKA_PARTITIONS", str(partitions))
        asyncio.run(running.prepare())
        running.start()
        yield running


def newer(number: int) -> Record:
    """An event of a version that nobody knows yet."""
    event = remembered(number, session=f"s{number}")
    body = event.body.model_copy(update={"schema_version": 99})
    return encode(type(event)(body=body, scope=event.scope, id=event.id, time=event.time, source="test"))


def broken(id: str) -> Record:
    headers = (("ce_id", id.encode()), ("ce_type", b"crewmem.memory.remembered"), ("ce_time", b"2026-01-01T00:00:00Z"))
    return Record(b"default/x", b"no json at all", headers)


def publish(made: Stack, *records: Record) -> None:
    async def done() -> None:
        await made.publish(records)
        await made.caught_up()

    asyncio.run(done())


def on_the_log(made: Stack) -> list[LoggedRecord]:
    return [record for records in asyncio.run(made.everything()).values() for record in records]


def copies(made: Stack, id: str) -> int:
    return sum(record.header("ce_id") == id for record in on_the_log(made))


def outcome_of(made: Stack, id: str) -> list[str]:
    return [row.outcome.value for _, row in made.reader().ledger_of(id)]


def test_letters_are_listed_shown_redriven_and_discarded_while_a_consumer_runs(made: Stack) -> None:
    publish(made, newer(1), broken("bad-1"), encode(remembered(5)), broken("bad-2"))
    listed = printed("list")
    assert {(one["event_id"], one["reason"], one["state"]) for one in listed} == {
        (remembered(1, session="s1").id, "newer_schema", "open"), ("bad-1", "not_json", "open"), ("bad-2", "not_json", "open"),
    }  # fmt: skip
    [first] = printed("list", "--where", 'session == "s1" && tenant == "default" && age_seconds < 86400')
    place = f"{first['position']['partition']}/{first['position']['offset']}"
    [shown] = printed("show", place)
    assert json.loads(shown["body"])["schema_version"] == 99 and dict(shown["headers"])["crewmem-dlq-reason"] == "newer_schema"
    assert "no json at all" in crewmem("dlq", "show", "bad-1").stdout

    assert printed("redrive", place, "--dry-run")["redriven"] == [first["position"]]
    assert copies(made, first["event_id"]) == 1
    assert printed("redrive", place)["redriven"] == [first["position"]]
    assert copies(made, first["event_id"]) == 2
    asyncio.run(made.caught_up())
    assert outcome_of(made, first["event_id"]) == ["dead_letter", "dead_letter"]
    states = {(one["event_id"], one["state"]) for one in printed("list", "--where", 'reason == "newer_schema"')}
    assert states == {(first["event_id"], "redriven"), (first["event_id"], "open")}, "it failed again: a new letter"

    refused = crewmem("dlq", "discard", "--where", 'reason == "not_json"', stdin="n\n")
    assert refused.exit_code == 2 and "--yes" in refused.stderr
    assert len(printed("discard", "--where", 'reason == "not_json"', "--yes")["discarded"]) == 2
    again = printed("discard", "--where", "event_id.startsWith('bad')", "--yes")
    assert (again["discarded"], {one["state"] for one in again["skipped"]}) == ([], {"discarded"})
    assert [one["state"] for one in printed("list")] == ["open"]
    assert printed("redrive", "bad-1")["redriven"], "who names a letter takes back that it was discarded"
    assert printed("redrive", "bad-1", "--where", 'state == "redriven"')["redriven"] == []


def test_a_letter_that_a_crash_sent_twice_is_one_letter(made: Stack) -> None:
    publish(made, broken("bad-1"))

    async def twice() -> None:
        from crewmem_producers.connect import open_dead_letter_log

        log = open_dead_letter_log(load(KafkaSettings))
        await log.start()
        found = [record for number in range(log.partitions) for record in await log.read(number, 0)]
        await log.append([Record(one.key, one.value, one.headers) for one in found])
        await log.close()

    asyncio.run(twice())
    assert len(printed("list")) == 1
    assert len(printed("redrive", "bad-1", "--yes")["redriven"]) == 1
    assert copies(made, "bad-1") == 2


@pytest.mark.parametrize("made", ["sqlite"], indirect=True)
def test_what_cannot_be_meant_is_refused_with_the_reason(made: Stack) -> None:
    publish(made, broken("bad-1"))
    for arguments, word, code in (
        (["list", "--where", "raeson == 'x'"], "there is no field 'raeson'", 2),
        (["list", "--where", "offset + 1"], "not true or false", 2),
        (["show"], "--where", 2),
        (["redrive"], "--where", 2),
        (["discard", "nobody"], "there is no dead letter nobody", 4),
        (["show", "7/1"], "there is no dead letter 7/1", 4),
    ):
        done = crewmem("dlq", *arguments)
        assert done.exit_code == code and word in done.stderr, done.output
    assert "1 open" in crewmem("dlq", "list").stderr


@pytest.mark.parametrize("made", ["sqlite"], indirect=True)
def test_doctor_says_how_many_are_open(made: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewmem_store.embedders.open_embedder", lambda name, *, threads: HashingEmbedder())

    def found() -> tuple[str, str, str]:
        findings = json.loads(crewmem("doctor", "--json").stdout)
        [one] = [finding for finding in findings if finding["name"] == "dead letters"]
        return one["state"], one["said"], one["remedy"]

    publish(made, broken("bad-1"))
    assert found() == ("warn", "1 open", "`crewmem dlq list` shows them, and why")
    printed("discard", "bad-1", "--yes")
    asyncio.run(made.caught_up())
    assert found() == ("ok", "none open, 1 settled", "")
