import pytest
from crewmem_producers.freshness import Mark, format_token, parse_token
from hypothesis import given
from hypothesis import strategies as st

MARKS = st.one_of(
    st.builds(Mark, st.integers(0, 999), st.integers(0, 2**62)),
    st.builds(Mark, st.integers(0, 999), event_id=st.uuids().map(str)),
)


@given(st.lists(MARKS, min_size=1, max_size=5))
def test_a_token_says_what_it_was_made_of(marks: list[Mark]) -> None:
    assert parse_token(format_token(marks)) == marks


def test_tokens_have_the_written_form() -> None:
    assert format_token([Mark(7, 42), Mark(3, event_id="e-1")]) == "1.7.42,1.3.e.e-1"


@pytest.mark.parametrize("text", ["", "latest", "2.0.1", "1.0", "1.0.", "1.x.1", "1.0.-1", "1.0.e.", "1.0.1,", "1.0.1.2"])
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match="not a freshness token"):
        parse_token(text)
