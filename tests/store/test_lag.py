"""How far a generation is behind the log."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from crewmem_producers.log import LoggedRecord
from crewmem_store.lag import Lag, lag
from support.listed_log import ListedLog

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def log(*offsets: int) -> ListedLog:
    """Each record is as many seconds old as its offset is below 100."""
    ago = [NOW.timestamp() - (100 - offset) for offset in offsets]
    return ListedLog([LoggedRecord(0, offset, None, None, (), int(at * 1000)) for offset, at in zip(offsets, ago, strict=True)])


@pytest.mark.parametrize(
    ("offsets", "position", "end", "expected"),
    [
        ((4, 5, 6), 4, 7, Lag(3, 96.0)),
        ((4, 5, 6), 6, 7, Lag(1, 94.0)),
        ((4, 5, 6), 7, 7, Lag(0, 0.0)),
        ((4, 5, 6), 9, 7, Lag(0, 0.0)),
        ((4, 9), 5, 10, Lag(5, 91.0)),
        ((4,), 5, 6, Lag(0, 0.0)),
        ((120,), 120, 121, Lag(1, 0.0)),
        ((), 0, 0, Lag(0, 0.0)),
    ],
    ids=["all", "one", "none", "beyond the end", "over a gap", "an offset without a record", "a clock ahead of ours", "no log"],
)
async def test_what_waits_is_counted_and_the_age_of_its_first_record_told(
    offsets: tuple[int, ...], position: int, end: int, expected: Lag
) -> None:
    assert await lag(log(*offsets), 0, position=position, end=end, now=NOW) == expected
