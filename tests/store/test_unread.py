"""Batches of a key that sends on where there is no room: read once a second, on a clock of the test."""

from __future__ import annotations

import contextlib

import pytest
from crewmem_store.errors import RequestRefused
from crewmem_store.service.unread import LONGEST_RETRY_SECONDS, READ_AGAIN_SECONDS, UnreadBatches


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def busy(seconds: int = 60, code: str = "busy") -> RequestRefused:
    return RequestRefused(429, code, "no room", headers={"Retry-After": str(seconds)})


def send(batches: UnreadBatches, key: str = "k", *, refused: RequestRefused | None = None) -> bool:
    """Whether the batch was read."""
    try:
        batches.check(key)
    except RequestRefused as error:
        assert (error.status, error.code) == (429, "busy") and 1 <= int(error.headers["Retry-After"]) <= LONGEST_RETRY_SECONDS
        return False
    with contextlib.suppress(RequestRefused), batches.watch(key):
        if refused:
            raise refused
    return True


def test_a_flood_without_room_is_read_once_a_second(clock: Clock) -> None:
    batches = UnreadBatches(monotonic=clock)
    read = 0
    for tenth in range(100):
        clock.now = tenth / 10
        read += sum(send(batches, refused=busy()) for _ in range(50))
    assert 9 <= read <= 11


def test_of_many_that_come_at_once_one_alone_is_read(clock: Clock) -> None:
    batches = UnreadBatches(monotonic=clock)
    send(batches, refused=busy())
    clock.now += READ_AGAIN_SECONDS
    batches.check("k")  # it is read now, and has no answer yet
    assert not send(batches)


def test_once_a_batch_is_taken_every_batch_is_read_again(clock: Clock) -> None:
    batches = UnreadBatches(monotonic=clock)
    send(batches, refused=busy())
    clock.now += READ_AGAIN_SECONDS
    assert send(batches) and send(batches)


def test_other_keys_and_other_refusals_change_nothing(clock: Clock) -> None:
    batches = UnreadBatches(monotonic=clock)
    send(batches, "flood", refused=busy())
    assert send(batches, "other")
    send(batches, "other", refused=busy(code="rate_limited"))
    assert send(batches, "other") and not send(batches, "flood")
