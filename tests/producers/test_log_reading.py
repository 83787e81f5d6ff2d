"""Positions as people type them, and one partition of the log read page by page or at one place."""

from __future__ import annotations

import pytest
from crewmem_producers.log import LoggedRecord, Position
from crewmem_producers.log_reading import pages, record_at
from support.listed_log import ListedLog


def log_of(*offsets: int) -> ListedLog:
    """A log that gives three records at a time."""
    return ListedLog([LoggedRecord(0, offset, None, b"", (), 0) for offset in offsets], page=3)


async def read(log: ListedLog, **places: int) -> list[list[int]]:
    return [[record.offset for record in page] async for page in pages(log, 0, **places)]


@pytest.mark.parametrize("text", ["", "3", "3/", "/4", "a/b", "-1/2", "1/2/3", "²/1", "9" * 5000 + "/1", "1/" + "9" * 5000])
def test_what_is_no_position_is_none(text: str) -> None:
    assert Position.parse(text) is None
    assert Position.parse("3/14") == Position.parse("3:14") == Position(3, 14)


def test_a_position_is_written_as_it_is_typed() -> None:
    assert Position.parse(str(Position(3, 14))) == Position(3, 14)
    assert str(Position(3, 14)) == "3/14"


async def test_every_record_below_the_end_is_given_once_in_order() -> None:
    log = log_of(*range(8))
    assert await read(log) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert await read(log, start=2, end=6) == [[2, 3, 4], [5]]
    assert await read(log, start=8) == await read(log, end=0) == []


async def test_offsets_without_a_record_are_no_empty_page() -> None:
    assert await read(log_of(0, 1, 9), end=5) == [[0, 1]]
    assert await read(log_of(0, 1, 2, 9), end=5) == [[0, 1, 2]]


async def test_what_is_appended_meanwhile_is_left_for_later() -> None:
    log, seen = log_of(0, 1, 2, 3), list[int]()
    async for page in pages(log, 0):
        seen += [record.offset for record in page]
        log.records.append(LoggedRecord(0, 100 + len(seen), None, b"", (), 0))
    assert seen == [0, 1, 2, 3]


async def test_a_partition_that_the_log_does_not_have_has_no_records() -> None:
    assert [page async for page in pages(log_of(0), 7)] == []


async def test_a_record_is_found_at_its_own_position_only() -> None:
    log = log_of(0, 1, 5)
    found = await record_at(log, Position(0, 5))
    assert found is not None and found.offset == 5
    assert await record_at(log, Position(0, 3)) is None
    assert await record_at(log, Position(0, 6)) is None
