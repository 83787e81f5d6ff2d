"""Dead letters as they are read: each once, as far as they can be read, and asked for by conditions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from consumers.test_newer_schemas import Keys
from crewmem_consumers.item import Rejection
from crewmem_consumers.letter_box import Letter, letters, read
from crewmem_consumers.letter_conditions import LetterCondition
from crewmem_consumers.letters import letter
from crewmem_producers.errors import KeyErased, KeyMissing
from crewmem_producers.log import LoggedRecord, Position, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.started import started
from crewmem_store.letter_states import LetterState
from support.keyrings import plain_keyring
from support.logged import remembered_record

LOGGED_MS = 1_767_323_045_000


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with started(SqliteLog(tmp_path / "log.sqlite3", topic="dlq", partitions=2)) as log:
        yield log


def sent(offset: int, record: Record | None = None, *, reason: str = "newer_schema") -> Record:
    """The letter of a record at that offset of partition 3."""
    record = record or remembered_record(offset, session="s")
    logged = LoggedRecord(3, offset, record.key, record.value, record.headers, LOGGED_MS)
    return letter(logged, Rejection(reason, "it is  of version 9\nand more"))


async def read_all(log: SqliteLog) -> list[Letter]:
    return [found async for found in letters(log, keyring=plain_keyring())]


async def test_each_position_is_one_letter_however_often_it_was_sent(log: SqliteLog) -> None:
    await log.append([sent(4), sent(5), sent(4), replace(sent(5), partition=1), Record(b"k", b"no letter at all")])
    found = await read_all(log)
    assert [(one.position, one.place) for one in found] == [(Position(3, 4), Position(0, 0)), (Position(3, 5), Position(0, 1))]


async def test_a_letter_tells_where_and_why_and_whose(log: SqliteLog) -> None:
    await log.append([sent(4)])
    [found] = await read_all(log)
    assert (found.reason, found.detail, found.type) == (
        "newer_schema", "it is of version 9 and more", "crewmem.memory.remembered",
    )  # fmt: skip
    assert (found.tenant, found.session, found.sealed, found.state) == ("default", "s", None, LetterState.OPEN)
    assert found.age_seconds(datetime.fromtimestamp(LOGGED_MS / 1000, UTC) + timedelta(hours=1)) == 3600
    assert found.json(found.time)["position"] == {"partition": 3, "offset": 4}


@pytest.mark.parametrize("value", [None, b"", b"no json", b"[1, 2]", b"\xff\x00", b'{"tenant": 1, "session": []}'])
def test_of_a_body_that_cannot_be_read_the_key_names_the_tenant(value: bytes | None) -> None:
    headers = (("ce_id", b"x"), ("ce_type", b"\xff"))
    record = sent(1, Record(b"acme/0123", value, headers), reason="not_json")
    logged = LoggedRecord(0, 9, record.key, record.value, record.headers, LOGGED_MS)
    found = read(logged, keyring=plain_keyring())
    assert found is not None and (found.tenant, found.session, found.event_id) == ("acme", None, "x")


def test_what_is_sealed_and_cannot_be_opened_says_so() -> None:
    for error, said in (
        (KeyErased("gone"), "erased"),
        (KeyMissing("the data key 7 is not here"), "the data key 7 is not here"),
    ):
        record = sent(1, replace(remembered_record(1), headers=(("ce_id", b"e1"),)))
        logged = LoggedRecord(0, 9, record.key, record.value, record.headers, LOGGED_MS)
        found = read(logged, keyring=Keys(e1=error))
        assert found is not None and (found.sealed, found.tenant, found.session) == (said, "default", None)


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ('reason == "newer_schema" && state == "open"', [True, False]),
        ("partition == 3 && offset == 4", [True, False]),
        ("age_seconds > 86400 && age_seconds < 200000.0 && bytes > 10", [True, True]),
        ('tenant == "default" && session in ["s", "t"]', [True, True]),
        ('type.endsWith("remembered") && event_id == "0190-default-s-000004"', [True, False]),
        ('detail.contains("version 9") && search(reason, "^NEWER")', [True, False]),
        ("true", [True, True]),
    ],
)
async def test_conditions_ask_about_every_field(log: SqliteLog, source: str, holds: list[bool]) -> None:
    await log.append([sent(4), sent(5, reason="not_json")])
    found = await read_all(log)
    condition = LetterCondition(source)
    assert [condition.holds(one, now=one.time + timedelta(days=2)) for one in found] == holds


@pytest.mark.parametrize(
    "source", ["raeson == 'x'", "offset", "offset ==", "nothing(reason)", "reason > 3", 'search(reason, "(")']
)
def test_what_is_no_condition_is_refused_at_once(source: str) -> None:
    with pytest.raises(ValueError):
        LetterCondition(source)
