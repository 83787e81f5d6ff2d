"""Dead letters are put on the log again once, whatever was killed in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crewmem_consumers.item import Rejection
from crewmem_consumers.later_facts import COPY_OF, LaterFacts, read_later_facts
from crewmem_consumers.letters import letter
from crewmem_consumers.redrive import GROUP, Ref, copy, discard, redrive
from crewmem_consumers.steps import COPIED
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.log import LoggedRecord, Position, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.started import started
from crewmem_store.letter_states import LetterState
from support.logged import remembered_record


class Killed(BaseException):
    """The process ends here."""


def killed_at(step: str) -> None:
    if step == COPIED:
        raise Killed


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    async with started(SqliteLog(tmp_path / "log.sqlite3", topic="t", partitions=3)) as log:
        yield log


async def letters_at(log: SqliteLog, count: int, *, partition: int = 1) -> list[Ref]:
    """So many records on the log, as the letters that they became."""
    records = [remembered_record(number) for number in range(count)]
    positions = await log.append([Record(one.key, one.value, one.headers, partition=partition) for one in records])
    return [Ref(position, f"e{position.offset}") for position in positions]


async def fetched(log: SqliteLog, ref: Ref) -> Record:
    """What lies on the dead letter log of it."""
    [record] = await log.read(ref.position.partition, ref.position.offset, limit=1)
    return letter(record, Rejection("not_json", "no"))


async def again(log: SqliteLog, refs: list[Ref], **more: object) -> list[Position]:
    return await redrive(refs, log=log, fetch=lambda ref: fetched(log, ref), source="test", **more)  # type: ignore[arg-type]


async def types(log: SqliteLog, partition: int = 1) -> list[str]:
    """What lies on the log: `event` or `copy <offset>` of records, the type of facts."""
    said = []
    for record in await log.read(partition, 0):
        kind = record.header("ce_type") or ""
        copied = record.header(COPY_OF)
        said.append(f"copy {copied}" if copied else kind.removeprefix("crewmem."))
    return said


async def test_the_record_comes_again_as_it_was_then_the_event_that_says_so(log: SqliteLog) -> None:
    [ref] = await letters_at(log, 1)
    assert await again(log, [ref]) == [Position(1, 0)]
    original, copied, fact = await log.read(1, 0)
    assert (copied.key, copied.value) == (original.key, original.value)
    assert copied.headers == (*original.headers, (COPY_OF, b"1/0"))
    assert fact.header("ce_type") == "crewmem.event.redriven"
    behind = await read_later_facts(log, 1, start=1)
    assert (behind.states, behind.copies) == ({Position(1, 0): LetterState.REDRIVEN}, {Position(1, 0)})


async def test_a_second_redrive_appends_nothing(log: SqliteLog) -> None:
    refs = await letters_at(log, 2)
    assert len(await again(log, refs)) == 2
    before = await types(log)
    assert await again(log, [*refs, *refs]) == []
    assert await types(log) == before


async def test_a_redrive_that_was_killed_between_the_two_goes_on_with_the_second(log: SqliteLog) -> None:
    refs = await letters_at(log, 3)
    with pytest.raises(Killed):
        await again(log, refs[:2], checkpoint=killed_at)
    assert (await types(log))[3:] == ["copy 1/0", "copy 1/1"]
    assert len(await again(log, refs)) == 3
    assert (await types(log))[5:] == ["copy 1/2", *["event.redriven"] * 3]


async def test_control_a_redrive_that_does_not_look_goes_on_with_a_second_copy(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(*arguments: object, **more: object) -> LaterFacts:
        return LaterFacts()

    monkeypatch.setattr("crewmem_consumers.redrive.read_later_facts", blind)
    refs = await letters_at(log, 1)
    with pytest.raises(Killed):
        await again(log, refs, checkpoint=killed_at)
    await again(log, refs)
    assert (await types(log))[1:] == ["copy 1/0", "copy 1/0", "event.redriven"]


async def test_a_kill_leaves_one_group_half_done_at_most(log: SqliteLog) -> None:
    refs = await letters_at(log, GROUP + 1)
    with pytest.raises(Killed):
        await again(log, refs, checkpoint=killed_at)
    assert len(await log.read(1, 0)) == 2 * GROUP + 1


async def test_a_copy_that_fails_again_is_a_letter_of_its_own_that_can_be_redriven(log: SqliteLog) -> None:
    [ref] = await letters_at(log, 1)
    await again(log, [ref])
    [copied] = await log.read(1, 1, limit=1)
    assert copied.header(COPY_OF) == "1/0"
    assert await again(log, [Ref(copied.position, "e0")]) == [Position(1, 1)]
    assert await types(log) == ["memory.remembered", "copy 1/0", "event.redriven", "copy 1/1", "event.redriven"]


async def test_what_was_redriven_or_discarded_is_not_discarded_again(log: SqliteLog) -> None:
    refs = await letters_at(log, 3)
    await again(log, refs[:1])
    assert await discard(refs, log=log, source="test") == [Position(1, 1), Position(1, 2)]
    assert await discard(refs, log=log, source="test") == []
    assert await again(log, refs[1:2]) == [Position(1, 1)], "that it was discarded can be taken back"


async def test_an_append_that_was_not_acknowledged_is_looked_for_before_the_next(log: SqliteLog) -> None:
    [ref] = await letters_at(log, 1)
    real = log.append

    async def unheard(records: list[Record]) -> list[Position]:
        await real(records)
        raise LogUnavailable("no answer")

    log.append = unheard  # type: ignore[method-assign, assignment]
    with pytest.raises(LogUnavailable):
        await again(log, [ref])
    log.append = real  # type: ignore[method-assign]
    await again(log, [ref])
    assert await types(log) == ["memory.remembered", "copy 1/0", "event.redriven"]


async def test_letters_of_several_partitions_go_back_to_their_own(log: SqliteLog) -> None:
    refs = [*await letters_at(log, 2, partition=2), *await letters_at(log, 1, partition=0)]
    assert await again(log, refs) == [Position(0, 0), Position(2, 0), Position(2, 1)]
    assert (await types(log, 0), len(await types(log, 2))) == (["memory.remembered", "copy 0/0", "event.redriven"], 6)


def test_a_copy_has_none_of_the_letters_own_headers() -> None:
    logged = LoggedRecord(0, 7, b"k", None, (("ce_id", b"a"), (COPY_OF, b"0/3")), 0)
    sent = letter(logged, Rejection("null_body", "none"))
    assert copy(sent, Position(0, 7)) == Record(b"k", None, (("ce_id", b"a"), (COPY_OF, b"0/7")), partition=0)
