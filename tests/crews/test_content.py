import pytest
from crewmem.content import cut, fit_content
from crewmem.errors import RequestRefused
from crewmem_producers.limits import CONTENT_CHARACTERS
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(min_size=1, max_size=30).filter(lambda text: bool(text.strip())), st.integers(1, 2000))
def test_whatever_the_text_what_is_kept_fits_and_is_its_beginning(text: str, times: int) -> None:
    kept, was_cut = fit_content(text * times)
    assert len(kept) <= CONTENT_CHARACTERS
    assert was_cut == (len(text * times) > CONTENT_CHARACTERS)
    assert (text * times).startswith(kept.rsplit(" [cut: ", 1)[0] if was_cut else kept)


def test_long_content_ends_at_a_sentence_and_says_that_it_was_cut() -> None:
    kept, was_cut = fit_content("Acme charges 49 dollars. " * 1000)
    assert was_cut and kept.endswith("dollars. [cut: the first part of 25,000 characters]")


@pytest.mark.parametrize("wrong", ["", "  \n", None, 7, b"x"])
def test_what_is_nothing_to_remember_is_refused(wrong: object) -> None:
    with pytest.raises(RequestRefused):
        fit_content(wrong)


def test_without_a_sentence_the_cut_is_at_a_word() -> None:
    assert cut("aaaa bbbb cccc", 11) == "aaaa bbbb"
    assert cut("a" * 20, 11) == "a" * 11
