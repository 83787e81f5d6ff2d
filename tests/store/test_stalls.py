"""A partition stands still when records wait there and nothing moves for long; everything else is no stall."""

from __future__ import annotations

from crewmem_store.stalls import STALLED_SECONDS, Stalls, Standing

A, B = ("g1", 0), ("g1", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Stalls, Clock]:
    clock = Clock()
    return Stalls(clock=clock), clock


def test_a_partition_that_does_not_move_is_said_after_the_time_and_no_other_one_is() -> None:
    stalls, clock = made()
    assert stalls.look({A: Standing(5, waiting=True), B: Standing(5, waiting=True)}) == {}
    clock.now = STALLED_SECONDS - 1
    assert stalls.look({A: Standing(5, waiting=True), B: Standing(6, waiting=True)}) == {}
    clock.now = STALLED_SECONDS
    assert stalls.look({A: Standing(5, waiting=True), B: Standing(6, waiting=True)}) == {A: STALLED_SECONDS}
    assert stalls.look({A: Standing(6, waiting=True), B: Standing(6, waiting=True)}) == {}, "it moves again"


def test_a_partition_that_never_opens_stands_still() -> None:
    stalls, clock = made()
    stalls.look({A: Standing(None, waiting=True)})
    clock.now = STALLED_SECONDS
    assert stalls.look({A: Standing(None, waiting=True)}) == {A: STALLED_SECONDS}


def test_where_nothing_waits_nothing_stands_still_and_the_time_begins_with_the_first_record() -> None:
    stalls, clock = made()
    stalls.look({A: Standing(5, waiting=False)})
    clock.now = 10 * STALLED_SECONDS
    assert stalls.look({A: Standing(5, waiting=True)}) == {}
    clock.now = 11 * STALLED_SECONDS
    assert stalls.look({A: Standing(5, waiting=True)}) == {A: STALLED_SECONDS}


def test_what_was_not_looked_at_meanwhile_begins_again() -> None:
    stalls, clock = made()
    stalls.look({A: Standing(5, waiting=True)})
    clock.now = STALLED_SECONDS
    assert stalls.look({}) == {}
    assert stalls.look({A: Standing(5, waiting=True)}) == {}
