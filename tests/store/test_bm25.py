from __future__ import annotations

import numpy as np
from crewmem_store import bm25
from crewmem_store.bm25 import Floats
from hypothesis import given
from hypothesis import strategies as st


def score(query: str, texts: list[str]) -> Floats:
    documents = [bm25.terms(text) for text in texts]
    lengths = np.array([document.length for document in documents], dtype=np.float64)
    return bm25.scores(bm25.frequencies(bm25.query_terms(query), documents), lengths)


def test_words_are_stemmed_and_case_is_folded() -> None:
    first, second = score("competitors PRICING", ["The competitor priced it", "A blue door"])
    assert first > 0 == second


def test_stop_words_find_nothing() -> None:
    assert not score("what is the of and", ["what is the of and", "the door"]).any()


def test_a_rare_word_counts_for_more_than_a_common_one() -> None:
    rare, common = score("acme door", ["acme window", "door window", "door chair", "door table"])[:2]
    assert rare > common


def test_a_long_text_counts_for_less_than_a_short_one_with_the_same_word() -> None:
    short, long = score("acme", ["acme wins", "acme " + "filler words everywhere " * 20])
    assert short > long


def test_repeats_of_a_word_count_less_and_less() -> None:
    once, twice, often = score("acme", ["acme " + "x " * 9, "acme acme " + "x " * 8, "acme " * 5 + "x " * 5])
    assert once < twice < often < 3 * once


def test_nothing_to_search_and_nothing_asked_are_zero() -> None:
    assert score("acme", []).shape == (0,)
    assert not score("", ["acme"]).any()
    assert not score("acme", ["", "..."]).any()


def test_a_very_long_question_is_searched_by_its_first_words() -> None:
    question = " ".join(f"word{number}x" for number in range(10_000))
    assert list(score(question, ["word3x", "word9000x"]) > 0) == [True, False]


TEXTS = st.lists(st.lists(st.sampled_from(["acme", "price", "door", "the", "é", "日本"]), max_size=6).map(" ".join), max_size=6)


@given(st.text(max_size=20), TEXTS)
def test_scores_are_finite_and_never_negative(query: str, texts: list[str]) -> None:
    found = score(query, texts)
    assert found.shape == (len(texts),) and np.isfinite(found).all() and (found >= 0).all()


@given(TEXTS)
def test_the_order_of_the_texts_changes_no_score(texts: list[str]) -> None:
    forwards = score("acme price door", texts)
    backwards = score("acme price door", texts[::-1])[::-1]
    assert np.allclose(forwards, backwards)
