"""Errors: what they say, and that they cross from one process to another."""

from __future__ import annotations

import pickle

import pytest
from crewmem_producers.errors import (
    CrewmemError,
    EventTooLarge,
    InvalidEvent,
    NewerSchema,
    ServiceUnavailable,
)


@pytest.mark.parametrize(
    "error",
    [
        InvalidEvent("not JSON", reason="not_json"),
        NewerSchema("version 9"),
        EventTooLarge("13 MB"),
        ServiceUnavailable("busy", retry_after_seconds=3.0),
    ],
)
def test_an_error_that_was_raised_in_another_process_arrives_whole(error: CrewmemError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


def test_what_is_said_of_an_invalid_event_is_cut_and_holds_no_half_characters() -> None:
    said = str(InvalidEvent("a\udcff" + "b" * 10_000_000, reason="bad_header"))
    assert said.startswith("a\\udcffb") and len(said) < 1100
