"""Dead letters go from a worker's thread to the log on the loop, and only an acknowledgement counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from crewmem_consumers.dead_letters import LogDeadLetters
from crewmem_consumers.item import Rejection
from crewmem_consumers.letters import CUT, letter
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.log import LoggedRecord, Position, Record


class OneLog:
    """As much of a log as letters need."""

    def __init__(self, *, error: Exception | None = None, hangs: bool = False) -> None:
        self.records: list[Record] = []
        self.error = error
        self.hangs = hangs

    async def append(self, records: Sequence[Record]) -> list[Position]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        self.records += records
        return [Position(0, offset) for offset in range(len(records))]


def letters(log: OneLog, *, timeout_seconds: float = 30.0) -> LogDeadLetters:
    return LogDeadLetters(log, loop=asyncio.get_running_loop(), timeout_seconds=timeout_seconds)  # type: ignore[arg-type]


async def test_letters_sent_from_a_thread_are_on_the_log_when_the_call_returns() -> None:
    log = OneLog()
    sent = [Record(b"k", b"v"), Record(None, None)]
    await asyncio.to_thread(letters(log).send, sent)
    assert log.records == sent


async def test_dead_letters_are_one_line_in_the_log_with_the_way_to_them(caplog: pytest.LogCaptureFixture) -> None:
    reasons = {5: "not_json", 6: "too_deep", 7: "not_json"}
    sent = [
        letter(LoggedRecord(3, offset, None, b"private words", (), 0), Rejection(reason, "private words"))
        for offset, reason in reasons.items()
    ]
    await asyncio.to_thread(letters(OneLog()).send, sent)
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "3 records from 3/5 on are dead letters (2 not_json, 1 too_deep): `crewmem dlq list` shows them"


async def test_a_record_that_no_letter_has_room_for_is_a_letter_without_its_body() -> None:
    headers = (("ce_id", b"large"),)
    large = LoggedRecord(0, 1, b"k", b"x" * (RECORD_BYTES - Record(b"k", b"", headers).size), headers, 0)
    assert Record(large.key, large.value, large.headers).checked(1).size == RECORD_BYTES
    sent = letter(large, Rejection("not_json", "no"))
    assert (sent.key, sent.value) == (b"k", None) and (CUT, str(len(large.value or b"")).encode()) in sent.headers
    sent.checked(1)
    assert letter(LoggedRecord(0, 1, b"k", b"x", headers, 0), Rejection("not_json", "no")).value == b"x"


async def test_a_log_that_is_away_is_told() -> None:
    with pytest.raises(LogUnavailable):
        await asyncio.to_thread(letters(OneLog(error=LogUnavailable("no broker"))).send, [Record(None, b"v")])


async def test_a_log_that_never_acknowledges_is_unavailable() -> None:
    with pytest.raises(LogUnavailable, match="did not acknowledge"):
        await asyncio.to_thread(letters(OneLog(hangs=True), timeout_seconds=0.05).send, [Record(None, b"v")])
