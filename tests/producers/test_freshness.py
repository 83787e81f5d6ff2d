import pytest
from crewmem_producers.freshness import Mark, folded, format_token, parse_token
from crewmem_producers.limits import TOKEN_CHARACTERS, TOKEN_MARKS
from hypothesis import given
from hypothesis import strategies as st

MARKS = st.one_of(
    st.builds(Mark, st.integers(0, 999), st.integers(0, 2**62)),
    st.builds(Mark, st.integers(0, 999), event_id=st.uuids().map(str)),
)


@given(st.lists(MARKS, min_size=1, max_size=5))
def test_a_token_says_what_it_was_made_of(marks: list[Mark]) -> None:
    assert parse_token(format_token(marks)) == folded(marks)
    assert {str(mark) for mark in folded(marks)} <= {str(mark) for mark in marks}


def test_of_a_partition_only_the_largest_offset_is_kept_since_it_implies_the_others() -> None:
    marks = [Mark(3, 7), Mark(1, 2), Mark(3, 9), Mark(3, 8), Mark(1, event_id="e"), Mark(1, event_id="e")]
    assert folded(marks) == [Mark(1, 2), Mark(3, 9), Mark(1, event_id="e")]
    assert parse_token("1.3.7,1.3.9,1.3.8") == [Mark(3, 9)]


@pytest.mark.parametrize(
    "text",
    [
        ",".join(f"1.{partition}.5" for partition in range(TOKEN_MARKS + 1)),
        ",".join(["1.0.1"] * 8_425),
        "1.0.e." + "x" * TOKEN_CHARACTERS,
    ],
)
def test_a_token_of_too_many_marks_is_refused_before_any_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="at most 100 marks"):
        parse_token(text)


@pytest.mark.parametrize("text", ["1." + "9" * 5000 + ".1", "1.0." + "9" * 5000, "1.0.e." + "x" * 101, "1.٣.1"])
def test_a_number_or_an_id_that_no_log_gives_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a freshness token"):
        parse_token(text)


def test_tokens_have_the_written_form() -> None:
    assert format_token([Mark(7, 42), Mark(3, event_id="e-1")]) == "1.7.42,1.3.e.e-1"


@pytest.mark.parametrize("text", ["", "latest", "2.0.1", "1.0", "1.0.", "1.x.1", "1.0.-1", "1.0.e.", "1.0.1,", "1.0.1.2"])
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="not a freshness token"):
        parse_token(text)
