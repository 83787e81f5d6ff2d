"""Names of spans."""

from __future__ import annotations

from crewmem_producers.spans import overlap


def test_spans_overlap_whatever_the_splitter_version_that_named_them() -> None:
    assert overlap("task/2", "task/2/chars 0-900")
    assert overlap("task/2/chars 0-900", "task/2/chars 899-1000")
    assert not overlap("task/2/chars 0-900", "task/2/chars 900-1000")
    assert not overlap("task/2", "task/20") and not overlap("raw", "task/2")


def test_a_span_whose_numbers_have_thousands_of_digits_is_a_name_like_another() -> None:
    huge = f"task/2/chars 0-{'9' * 5000}"
    assert overlap(huge, huge)
    assert not overlap(huge, "task/2") and not overlap("task/2/chars 0-900", huge)
