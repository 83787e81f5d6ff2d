from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from crewmem_store import search
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.rows import MemoryRow
from crewmem_store.search import Filters, Hit, Question, Weights
from crewmem_store.store import Rows
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EMBEDDER = HashingEmbedder()
PLAIN = Weights(neighbours_short=0, neighbours_long=0, parent=0, recency=0, importance=0)


def row(number: int, text: str, **fields: Any) -> MemoryRow:
    values = {"scope": "acme/s", "event_id": f"e{number}", "span": "content", "created_at": NOW, "content": text} | fields
    return MemoryRow(id=f"0-{number:03}", offset=number, text=text, **values)


def found(*rows: MemoryRow) -> Rows:
    matrix = EMBEDDER.embed([row.text or "" for row in rows]) if rows else np.zeros((0, 0), dtype=np.float32)
    return Rows(rows, matrix)


def recall(rows: Rows, text: str, *, weights: Weights = PLAIN, **fields: Any) -> list[Hit]:
    question = Question(text=text, vector=EMBEDDER.embed([text])[0], now=NOW, **{"top_k": 100, **fields})
    return search.recall(rows, question, weights=weights)


def texts(hits: list[Hit]) -> list[str | None]:
    return [hit.row.text for hit in hits]


def test_what_fits_the_question_best_comes_first_and_its_score_is_the_cosine() -> None:
    first, *rest = recall(found(row(1, "blue door"), row(2, "competitor pricing"), row(3, "pricing")), "competitor pricing")
    assert first.row.text == "competitor pricing"
    assert first.score == pytest.approx(1.0)
    assert all(0 <= hit.score < first.score for hit in rest)


def test_nothing_is_found_in_nothing() -> None:
    assert recall(found(), "anything") == []


def test_the_threshold_cuts_by_cosine_and_top_k_by_rank() -> None:
    rows = found(row(1, "blue door"), row(2, "competitor pricing"), row(3, "competitor"))
    assert texts(recall(rows, "competitor pricing", threshold=0.5)) == ["competitor pricing", "competitor"]
    assert texts(recall(rows, "competitor pricing", top_k=1)) == ["competitor pricing"]


def test_a_superseded_or_expired_memory_is_gone_and_seen_as_of_then() -> None:
    rows = found(
        row(1, "price is one", created_at=NOW - timedelta(days=9), superseded_at=NOW - timedelta(days=2)),
        row(2, "price is two", created_at=NOW - timedelta(days=2)),
        row(3, "price was seen", created_at=NOW - timedelta(days=5), expires_at=NOW),
        row(4, "price is to come", created_at=NOW - timedelta(days=1), expires_at=NOW + timedelta(days=1)),
    )
    assert set(texts(recall(rows, "price"))) == {"price is two", "price is to come"}
    assert set(texts(recall(rows, "price", as_of=NOW - timedelta(days=3)))) == {"price is one", "price was seen"}
    assert set(texts(recall(rows, "price", as_of=NOW - timedelta(days=2)))) == {"price is two", "price was seen"}
    assert texts(recall(rows, "price", as_of=NOW - timedelta(days=10))) == []


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"crew": "research"}, {1, 2}),
        ({"agent_role": "Content Writer"}, {2}),
        ({"kind": "finding"}, {1}),
        ({"metadata": {"team": "a"}}, {1}),
        ({"metadata": {"team": "a", "n": 1}}, {1}),
        ({"metadata": {"n": True}}, {3}),
        ({"metadata": {"none": None}}, {2}),
        ({"metadata": {"tags": ["x", "y"]}}, {2}),
        ({"since": NOW - timedelta(days=2)}, {2, 3}),
        ({"until": NOW - timedelta(days=2)}, {1, 2}),
        ({"since": NOW - timedelta(days=2), "until": NOW - timedelta(days=2)}, {2}),
        ({}, {1, 2, 3}),
    ],
)
def test_a_filter_keeps_what_is_equal(filters: dict[str, Any], kept: set[int]) -> None:
    rows = found(
        row(1, "a b", crew="research", kind="finding", created_at=NOW - timedelta(days=4), metadata={"team": "a", "n": 1}),
        row(2, "a c", crew="research", agent_role="Content\n Writer\n", created_at=NOW - timedelta(days=2),
            metadata={"none": None, "tags": ["x", "y"]}),
        row(3, "a d", metadata={"n": True}),
    )  # fmt: skip
    assert {hit.row.offset for hit in recall(rows, "a", filters=Filters(**filters))} == kept


def test_a_filter_changes_what_is_shown_not_how_it_ranks() -> None:
    rows = found(row(1, "acme price", kind="data"), row(2, "acme door"), row(3, "acme price list", kind="data"))
    ranks = {hit.row.id: hit.rank for hit in recall(rows, "acme price")}
    assert {hit.row.id: hit.rank for hit in recall(rows, "acme price", filters=Filters(kind="data"))}.items() <= ranks.items()


def test_a_row_between_two_that_answer_is_lifted_in_its_parent_only() -> None:
    def ranked(parents: list[str | None]) -> list[float]:
        rows = [row(n, text, parent=parent) for n, (text, parent) in enumerate(
            zip(["acme price", "they agreed", "acme price again", "they agreed"], parents, strict=True)
        )]  # fmt: skip
        hits = recall(found(*rows), "acme price", weights=Weights(recency=0, importance=0))
        return [hit.rank for hit in sorted(hits, key=lambda hit: hit.row.offset)]

    between, after = ranked(["p", "p", "p", None])[1::2]
    assert between > after
    apart = ranked(["p", None, "p", None])
    assert apart[1] == apart[3]


def test_the_same_parent_name_in_two_scopes_is_two_parents() -> None:
    rows = found(row(1, "acme price", scope="acme/a", parent="run"), row(2, "they agreed", scope="acme/b", parent="run"))
    hits = recall(rows, "acme price", weights=Weights(recency=0, importance=0))
    assert {hit.row.offset: hit.signals["neighbours"] for hit in hits}[2] == 0


def test_of_two_equal_memories_the_newer_and_the_more_important_one_comes_first() -> None:
    rows = found(row(1, "acme price", created_at=NOW - timedelta(days=200)), row(2, "acme price"))
    assert recall(rows, "acme", weights=Weights())[0].row.offset == 2
    rows = found(row(1, "acme price"), row(2, "acme price", importance=0.9))
    assert recall(rows, "acme", weights=Weights())[0].row.offset == 2


def test_half_of_being_new_is_left_after_each_half_life() -> None:
    weights = Weights(recency=1, half_life=timedelta(days=10))
    rows = found(
        *(row(n, "acme", created_at=NOW - timedelta(days=10 * n)) for n in range(3)),
        row(3, "acme", created_at=NOW + timedelta(days=5)),
    )
    new = {hit.row.offset: hit.signals["recency"] for hit in recall(rows, "acme", weights=weights)}
    assert new == pytest.approx({0: 1, 1: 0.5, 2: 0.25, 3: 1})


def test_the_signals_of_a_memory_add_up_to_its_rank() -> None:
    rows = found(*(row(n, f"acme price {n}", parent="p", importance=n / 10) for n in range(5)))
    for hit in recall(rows, "acme price", weights=Weights()):
        assert set(hit.signals) == {"meaning", "words", "neighbours", "parent", "recency", "importance"}
        assert sum(hit.signals.values()) == pytest.approx(hit.rank)


def test_the_weights_follow_the_length_of_what_is_searched() -> None:
    weights = Weights(short_words=40, long_words=160)
    shares = [search.length_share([length] * 3, weights) for length in (0, 5, 40, 80, 160, 900)]
    assert shares == pytest.approx([0, 0, 0, 0.5, 1, 1])
    short, long = (
        recall(found(row(1, "acme " + "filler " * length), row(2, "door")), "acme", weights=weights)[0] for length in (0, 800)
    )
    assert short.signals["meaning"] == pytest.approx(weights.meaning_short * short.score)
    assert long.signals["meaning"] > weights.meaning_short * long.score


ROWS = st.lists(
    st.tuples(st.sampled_from(["acme price", "blue door", "acme", "door price"]), st.sampled_from([None, "p", "q"])), max_size=8
)


@given(ROWS, st.sampled_from(["acme price", "door", "nothing like it"]))
def test_every_score_is_a_cosine_from_0_to_1_and_ranks_fall(given: list[tuple[str, str | None]], text: str) -> None:
    rows = found(*(row(n, content, parent=parent) for n, (content, parent) in enumerate(given)))
    hits = recall(rows, text, weights=Weights())
    assert len(hits) == len(given)
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert [hit.rank for hit in hits] == sorted((hit.rank for hit in hits), reverse=True)
