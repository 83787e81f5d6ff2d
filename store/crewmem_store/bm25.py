"""BM25 over exactly the texts that are searched: no statistic comes from any other scope.

Words are case-folded, English stop words are left out, the rest is stemmed (Snowball English).
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import snowballstemmer
from crewmem_producers.limits import QUERY_TERMS, WORD_CHARACTERS
from crewmem_producers.marks import normalised

Floats = npt.NDArray[np.float64]

K1 = 1.2
"""How soon a word's repeats in one text stop counting."""
B = 0.75
"""How much a text's length counts against it."""
_WORD = re.compile(r"\w+")
_STOP_TEXT = """
a about above after again against all am an and any are aren as at be because been before being below between both
but by can cannot could couldn d did didn do does doesn doing don down during each few for from further had hadn has
hasn have haven having he her here hers herself him himself his how i if in into is isn it its itself just ll m me
more most my myself no nor not now of off on once only or other our ours ourselves out over own re s same shall she
should shouldn so some such t than that the their theirs them themselves then there these they this those through
to too under until up ve very was wasn we were weren what when where which while who whom why will with won would
wouldn you your yours yourself yourselves
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())


class _Stemmer(threading.local):
    """One stemmer a thread: a stemmer holds the word it works on."""

    def __init__(self) -> None:
        self.stem: Any = snowballstemmer.stemmer("english")


_stemmer = _Stemmer()


@dataclass(frozen=True, slots=True)
class Terms:
    """A text as BM25 sees it: how often each stem is in it, and how many there are."""

    counts: Mapping[str, int]
    length: int


@lru_cache(maxsize=65_536)
def terms(text: str) -> Terms:
    """The stems of a text. Remembered by text, since most of what a recall reads was read by the one before. Safe over any
    text, also one that was stored before there were limits: runs of marks and words are cut."""
    stems = [_stem(word) for word in _words(text)]
    return Terms(counts=Counter(stems), length=len(stems))


def query_terms(text: str) -> Sequence[str]:
    """The stems of a question: its first QUERY_TERMS different ones."""
    found: dict[str, None] = {}
    for word in _words(text):
        found[_stem(word)] = None
        if len(found) == QUERY_TERMS:
            break
    return list(found)


def _words(text: str) -> Iterator[str]:
    """Every word that tells something, as far as WORD_CHARACTERS."""
    for match in _WORD.finditer(normalised("NFKC", text).casefold()):
        word = match.group()[:WORD_CHARACTERS]
        if word not in _STOP_WORDS:
            yield word


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    """Remembered by word: texts that are new have few new words, and stemming one takes 15 microseconds."""
    stem: str = _stemmer.stem.stemWord(word)
    return stem


def frequencies(query: Sequence[str], documents: Sequence[Terms]) -> Floats:
    """How often each of the query's terms is in each document: float64 (documents, terms)."""
    wanted = {term: column for column, term in enumerate(query)}
    table = np.zeros((len(documents), len(wanted)))
    for row, document in enumerate(documents):
        # The smaller side is walked: a query of one word over long texts, or a long query over short ones.
        small, large = sorted((wanted.keys(), document.counts.keys()), key=len)
        for term in small:
            if term in large:
                table[row, wanted[term]] = document.counts[term]
    return table


def scores(table: Floats, lengths: Floats) -> Floats:
    """BM25 of each document: float64 (documents,), at least 0. `table` is from `frequencies`, `lengths` the documents'."""
    count = len(lengths)
    if not table.size or not lengths.any():
        return np.zeros(count)
    holding = np.count_nonzero(table, axis=0)
    idf = np.log1p((count - holding + 0.5) / (holding + 0.5))
    norm = K1 * (1 - B + B * lengths / lengths.mean())
    # A document without words has no terms either: its row is 0 whatever the norm is.
    saturated = table * (K1 + 1) / np.maximum(table + norm[:, None], 1e-9)
    return np.asarray(saturated @ idf)
