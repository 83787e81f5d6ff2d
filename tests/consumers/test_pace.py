"""Batches are as large as a few seconds allow."""

from __future__ import annotations

import pytest
from crewmem_consumers.pace import ANSWERING_SECONDS, BACKGROUND_SECONDS, LEAST, Pace
from hypothesis import given
from hypothesis import strategies as st


def test_a_slow_pipeline_gets_small_batches() -> None:
    pace = Pace(most=500)
    for _ in range(20):
        pace.took(pace.records, pace.records * 1.0)
    assert pace.records == LEAST


def test_a_fast_pipeline_gets_the_largest() -> None:
    pace = Pace(most=500)
    for _ in range(20):
        pace.took(pace.records, pace.records * 0.0001)
    assert pace.records == 500


@pytest.mark.parametrize(("in_background", "seconds"), [(False, ANSWERING_SECONDS), (True, BACKGROUND_SECONDS)])
def test_in_between_a_batch_takes_about_the_target_which_is_longer_where_nobody_asks(
    *, in_background: bool, seconds: float
) -> None:
    pace = Pace(most=500, in_background=lambda: in_background)
    for _ in range(20):
        pace.took(pace.records, pace.records * 0.02)
    assert abs(pace.records * 0.02 - seconds) < 0.1


@given(most=st.integers(1, 5000), batches=st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=20))
def test_a_batch_has_at_least_one_record_and_never_more_than_the_limit(most: int, batches: list[tuple[int, float]]) -> None:
    pace = Pace(most=most)
    for records, seconds in batches:
        pace.took(records, seconds)
        assert 1 <= pace.records <= most
