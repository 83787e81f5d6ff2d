"""What is built gives way, in its steps, to what answers; and it is never starved to death."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from crewmem_consumers import right_of_way
from crewmem_consumers.right_of_way import LEAST_SHARE, LONGEST_REST_SECONDS, RightOfWay
from support.waiting import until

SECONDS = 60


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Builder:
    """A thread that takes steps: `steps` counts the borders that it has passed; each waits to be let go on."""

    def __init__(self, way: RightOfWay) -> None:
        self.steps = 0
        self.idle = True
        self.stop = threading.Event()
        self._go_on = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(way,), daemon=True)
        self._thread.start()

    def go_on(self) -> None:
        """Ends the step that it is in."""
        self._go_on.release()

    def end(self) -> None:
        self.stop.set()
        self._go_on.release()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def _run(self, way: RightOfWay) -> None:
        with way.building(self.stop.is_set) as border:
            while not border():
                self.idle = False
                self.steps += 1
                self._go_on.acquire()
                self.idle = True


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "LOOK_SECONDS", 0.01)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reaches(builder: Builder, steps: int) -> None:
    until(lambda: builder.steps == steps, SECONDS)


def stays(builder: Builder, steps: int, *, looks: int = 20) -> None:
    """It looks many times and does not pass the border."""
    waited = threading.Event()
    for _ in range(looks):
        waited.wait(0.01)
        assert builder.steps == steps


def test_nothing_waits_where_nothing_answers(clock: Clock) -> None:
    way = RightOfWay(clock=clock)
    builders = [Builder(way) for _ in range(3)]
    for builder in builders:
        reaches(builder, 1)
        builder.go_on()
        reaches(builder, 2)
        builder.end()


def test_a_step_begins_when_the_work_of_the_generation_that_answers_is_over(clock: Clock) -> None:
    way = RightOfWay(clock=clock)
    builder = Builder(way)
    reaches(builder, 1)
    with way.answering():
        builder.go_on()
        reaches(builder, 2)  # its share: it has not had any
        clock.now += 1
        builder.go_on()
        stays(builder, 2)
    reaches(builder, 3)
    builder.end()


def test_beside_work_that_never_ends_it_gets_its_share_and_no_more(clock: Clock) -> None:
    way = RightOfWay(clock=clock)
    with way.answering():
        builder = Builder(way)
        for step in range(1, 6):
            reaches(builder, step)
            clock.now += 1  # so long does the step take
            builder.go_on()
            stays(builder, step, looks=5)
            clock.now += 1 / LEAST_SHARE - 1
        reaches(builder, 6)
        clock.now += 10_000
        builder.go_on()
        stays(builder, 6, looks=5)
        clock.now += LONGEST_REST_SECONDS
        reaches(builder, 7)
        builder.end()


def test_beside_such_work_threads_take_their_steps_one_at_a_time(clock: Clock) -> None:
    way = RightOfWay(clock=clock)
    with way.answering():
        builders = [Builder(way) for _ in range(4)]
        before = [0] * len(builders)
        for step in range(1, 9):
            until(lambda step=step: rested(clock) and sum(one.steps for one in builders) == step, SECONDS)  # type: ignore[misc]
            for _ in range(3):  # however long the step takes
                clock.now += LONGEST_REST_SECONDS
                threading.Event().wait(0.05)
                assert sum(one.steps for one in builders) == step
            steps = [one.steps for one in builders]
            [stepping] = [one for one, was, now in zip(builders, before, steps, strict=True) if now > was]
            before = steps
            stepping.go_on()
            until(lambda one=stepping: one.idle, SECONDS)  # type: ignore[misc]
        for one in builders:
            one.end()


def rested(clock: Clock) -> bool:
    """The rest after a step is over, whenever that ended."""
    clock.now += LONGEST_REST_SECONDS
    return True


def test_a_thread_that_is_to_stop_does_not_wait(clock: Clock) -> None:
    way = RightOfWay(clock=clock)
    with way.answering():
        first, second = Builder(way), Builder(way)
        until(lambda: first.steps + second.steps == 1, SECONDS)
        waiting = first if second.steps else second
        waiting.end()
        (first if waiting is second else second).end()


def test_a_step_that_fails_leaves_its_turn_to_others(clock: Clock) -> None:
    way = RightOfWay(clock=clock)

    def fails(border: Callable[[], bool]) -> None:
        assert border() is False
        raise ValueError("a fault of ours")

    with way.answering():
        with pytest.raises(ValueError, match="a fault"), way.building(lambda: False) as border:
            fails(border)
        builder = Builder(way)
        reaches(builder, 1)
        builder.end()
