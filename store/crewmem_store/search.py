"""Recall as a pure function: which rows of the scopes asked for answer a question, in which order, and why.

A row's rank is a sum of signals; each is in [0, 1] before its weight:

    meaning     cosine of the question and the row's text, weight w
    words       BM25 of the row's text over the best row's, weight 1 - w
    neighbours  half the meaning and words, so weighted, of the rows before and after it in the same parent
    parent      BM25 of everything that its parent holds, over the best parent's
    recency     1 for a row of now, half of that after each half-life
    importance  what the row was given, .5 if nothing: above it lifts, below it lowers

w rises with the length of what is searched, since on short texts words tell more and on long outputs the meaning does; what
neighbours count for falls with it, since a turn of a talk leans on those around it and an output stands for itself.
A parent is what rows belong to: the kickoff of a task output. Every statistic is of the rows asked for, and of no other.
`score`, what a person reads and `threshold` cuts by, is the cosine alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from crewmem_producers.limits import LABEL_CHARACTERS
from crewmem_producers.marks import normalised
from crewmem_producers.privacy import visible

from crewmem_store import bm25
from crewmem_store.bm25 import Floats
from crewmem_store.rows import MemoryRow, Vector
from crewmem_store.store import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What each signal counts for. w and the neighbours' weight go from `_short` to `_long` between texts of `short_words`
    and of `long_words` (see `length_share`)."""

    meaning_short: float = 0.6
    meaning_long: float = 0.75
    neighbours_short: float = 0.4
    neighbours_long: float = 0.0
    short_words: int = 40
    long_words: int = 160
    parent: float = 0.3
    recency: float = 0.05
    half_life: timedelta = timedelta(days=30)
    importance: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a memory must be. `metadata` is equality of each named field; `since` and `until` bound `created_at`, both in.

    White space makes no difference in the name of a crew or a role: in YAML it often ends with a newline.
    """

    crew: str | None = None
    agent_role: str | None = None
    kind: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None

    def take(self, row: MemoryRow) -> bool:
        """Whether the row is what these ask for."""
        return (
            (self.crew is None or _spelt(self.crew) == _spelt(row.crew))
            and (self.agent_role is None or _spelt(self.agent_role) == _spelt(row.agent_role))
            and self.kind in (None, row.kind)
            and (self.since is None or row.created_at >= self.since)
            and (self.until is None or row.created_at <= self.until)
            and all(name in row.metadata and same(row.metadata[name], value) for name, value in self.metadata.items())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. `vector` is the embedded text, float32 (d,), normalised; `now` is aware.

    With `as_of` the memory is asked as it stood then: created, not yet superseded and not yet expired at that time. `source` is
    who asks: of private memories (`crewmem_producers.privacy`) only that source's count, or all with `include_private`.
    """

    text: str
    vector: Vector
    now: datetime
    top_k: int = 5
    threshold: float = 0.0
    as_of: datetime | None = None
    filters: Filters = field(default_factory=Filters)
    source: str | None = None
    include_private: bool = False

    def sees(self, row: MemoryRow) -> bool:
        """Whether the row is not somebody else's private memory: such a row counts in nothing."""
        return visible(row.metadata, source=self.source, include_private=self.include_private)


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that was recalled. `score` is the cosine in [0, 1]; `signals` are the parts of `rank`, weights applied."""

    row: MemoryRow
    score: float
    rank: float
    signals: Mapping[str, float]


@lru_cache(maxsize=4096)
def _spelt(name: str | None) -> str:
    return " ".join(normalised("NFC", (name or "")[:LABEL_CHARACTERS]).split())


def same(left: Any, right: Any) -> bool:
    """JSON equality: `true` is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def current(row: MemoryRow, *, now: datetime, as_of: datetime | None = None) -> bool:
    """Whether the row counts: neither superseded nor expired now, or what `as_of` saw."""
    if as_of is None:
        return row.superseded_at is None and (row.expires_at is None or row.expires_at > now)
    return (
        row.created_at <= as_of
        and (row.superseded_at is None or row.superseded_at > as_of)
        and (row.expires_at is None or row.expires_at > as_of)
    )


def recall(found: Rows, question: Question, *, weights: Weights) -> list[Hit]:
    """The rows that answer the question, best first, `top_k` at most."""
    kept = [
        i for i, row in enumerate(found.rows) if current(row, now=question.now, as_of=question.as_of) and question.sees(row)
    ]
    if not kept:
        return []
    rows = [found.rows[i] for i in kept]
    cosines = np.clip(found.matrix[kept].astype(np.float64) @ question.vector.astype(np.float64), 0.0, 1.0)
    signals = rank_signals(rows, cosines, question, weights=weights)
    ranks = np.sum(list(signals.values()), axis=0)
    wanted = [i for i, row in enumerate(rows) if cosines[i] >= question.threshold and question.filters.take(row)]
    wanted.sort(key=lambda i: (-ranks[i], -cosines[i], rows[i].id))
    return [
        Hit(rows[i], float(cosines[i]), float(ranks[i]), {name: float(values[i]) for name, values in signals.items()})
        for i in wanted[: question.top_k]
    ]


def rank_signals(rows: Sequence[MemoryRow], cosines: Floats, question: Question, *, weights: Weights) -> dict[str, Floats]:
    """Each signal of each row, weights applied: name -> float64 (n,). A row's rank is their sum."""
    documents = [bm25.terms(row.text or "") for row in rows]
    lengths = np.array([document.length for document in documents], dtype=np.float64)
    table = bm25.frequencies(bm25.query_terms(question.text), documents)
    share = length_share([len((row.text or "").split()) for row in rows], weights)
    w = _between(weights.meaning_short, weights.meaning_long, share)
    meaning, words = w * cosines, (1 - w) * _of_best(bm25.scores(table, lengths))
    parents = _parents(rows)
    moment = question.as_of or question.now
    return {
        "meaning": meaning,
        "words": words,
        "neighbours": _between(weights.neighbours_short, weights.neighbours_long, share)
        * _neighbours(meaning + words, parents),
        "parent": weights.parent * _parent_words(table, lengths, parents),
        "recency": weights.recency * _recency(rows, moment, weights.half_life),
        "importance": weights.importance * (np.array([row.importance for row in rows]) - 0.5),
    }


def length_share(word_counts: Sequence[int], weights: Weights) -> float:
    """How long texts of so many words are: from 0 (`short_words` and fewer) to 1, by the logarithm of their median."""
    median = max(float(np.median(word_counts)), 1.0)
    span = np.log(weights.long_words / weights.short_words)
    return float(np.clip(np.log(median / weights.short_words) / span, 0.0, 1.0))


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def _of_best(values: Floats) -> Floats:
    best = values.max(initial=0.0)
    return values / best if best > 0 else values


def _parents(rows: Sequence[MemoryRow]) -> list[int]:
    """A number for each row's parent. A row without one is its own; equal names in two scopes are two parents."""
    numbers: dict[tuple[str | None, ...], int] = {}
    return [numbers.setdefault((row.scope, row.parent) if row.parent else (row.id,), len(numbers)) for row in rows]


def _neighbours(values: Floats, parents: Sequence[int]) -> Floats:
    """Half the sum of the row before and the row after it in the same parent; 0 for a side where there is none."""
    total = np.zeros(len(values))
    last: dict[int, int] = {}
    for i, parent in enumerate(parents):
        if parent in last:
            before = last[parent]
            total[i] += values[before]
            total[before] += values[i]
        last[parent] = i
    return total / 2


def _parent_words(table: Floats, lengths: Floats, parents: Sequence[int]) -> Floats:
    """BM25 of each row's parent, over the best one's."""
    count = max(parents) + 1
    if count == len(parents):
        return np.zeros(len(parents))  # every row stands alone: its parent says what its own words say
    summed = np.zeros((count, table.shape[1]))
    np.add.at(summed, list(parents), table)
    return _of_best(bm25.scores(summed, np.bincount(parents, weights=lengths).astype(np.float64)))[list(parents)]


def _recency(rows: Sequence[MemoryRow], moment: datetime, half_life: timedelta) -> Floats:
    ages = np.array([max((moment - row.created_at) / half_life, 0.0) for row in rows])
    return np.asarray(np.exp2(-ages))
