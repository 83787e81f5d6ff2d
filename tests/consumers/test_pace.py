"""Batches are as large as a few seconds allow."""

from __future__ import annotations

import random

import pytest
from crewmem_consumers.pace import ANSWERING_SECONDS, BACKGROUND_SECONDS, COMMIT_SHARE, LEAST, Pace
from hypothesis import example, given
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


COMMIT_SECONDS, RECORD_SECONDS = 0.09, 0.0012
"""Of a replay on a quiet machine: a commit's fixed cost, and what a record costs."""


def sizes(pace: Pace, *, load: float, batches: int, noise: random.Random) -> list[int]:
    """The sizes of so many full batches; everything takes `load` times as long as on a quiet machine, more or less."""
    found = []
    for _ in range(batches):
        found.append(pace.records)
        slow = load * noise.uniform(0.7, 1.3)
        pace.took(found[-1], slow * (COMMIT_SECONDS + RECORD_SECONDS * found[-1]))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("in_background", [True, False])
def test_on_a_busy_machine_batches_stay_so_large_that_commits_cost_little(*, in_background: bool, seed: int) -> None:
    noise, pace = random.Random(seed), Pace(most=2000, in_background=lambda: in_background)
    sizes(pace, load=1, batches=20, noise=noise)
    busy = sizes(pace, load=25, batches=60, noise=noise)[10:]
    records, commits = sum(busy) * RECORD_SECONDS, len(busy) * COMMIT_SECONDS
    assert commits < 1.5 * COMMIT_SHARE * records, busy


@pytest.mark.parametrize("seed", range(5))
def test_a_commit_is_learnt_from_batches_of_different_sizes(seed: int) -> None:
    noise, pace = random.Random(seed), Pace(most=10_000)
    for _ in range(30):
        size = noise.randint(10, 800)
        pace.took(size, 10 * (COMMIT_SECONDS + RECORD_SECONDS * size))
    assert abs(pace.records - COMMIT_SECONDS / RECORD_SECONDS / COMMIT_SHARE) < 60


def test_a_machine_that_is_quiet_again_gets_batches_of_the_target_again() -> None:
    noise, pace = random.Random(1), Pace(most=10_000)
    sizes(pace, load=25, batches=30, noise=noise)
    size = sizes(pace, load=1, batches=40, noise=noise)[-1]
    assert abs(COMMIT_SECONDS + RECORD_SECONDS * size - ANSWERING_SECONDS) < 0.7 * ANSWERING_SECONDS


@example(most=1, batches=[(2, 5e-324)])  # divided by zero once
@given(most=st.integers(1, 5000), batches=st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=20))
def test_a_batch_has_at_least_one_record_and_never_more_than_the_limit(most: int, batches: list[tuple[int, float]]) -> None:
    pace = Pace(most=most)
    for records, seconds in batches:
        pace.took(records, seconds)
        assert 1 <= pace.records <= most
