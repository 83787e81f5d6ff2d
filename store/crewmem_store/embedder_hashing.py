"""An embedder without a model: for tests, and for trying crewmem where no model fits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from crewmem_store.rows import Vector

_WORD = re.compile(r"\w+")
_SPECIAL_TOKENS = 2
"""Counted as MiniLM counts its own ([CLS], [SEP]), so that a text at the window's edge behaves alike."""


class HashingEmbedder:
    """Bags of words, each word hashed to one signed dimension: texts that share words are similar, others nearly orthogonal.

    Deterministic everywhere and for ever; it knows no meaning. Thread-safe. Takes no model and no network.
    """

    def __init__(self, *, dimensions: int = 384, window_tokens: int = 256) -> None:
        self.name = "hashing"
        self.dimensions = dimensions
        self.window_tokens = window_tokens
        self.fingerprint = f"hashing-1-{dimensions}-{window_tokens}"

    def embed(self, texts: Sequence[str]) -> Vector:
        """float32 of shape (len(texts), dimensions), each row L2-normalised."""
        matrix = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in zip(matrix, texts, strict=True):
            for word in self._words(text):
                place, sign = _bucket(word, self.dimensions)
                row[place] += sign
            if not row.any():  # no word at all, or words that cancelled out
                row[_bucket(text, self.dimensions)[0]] = 1.0
            row /= np.linalg.norm(row)
        return matrix

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words of each text, and two that stand for a model's special tokens."""
        return [len(_WORD.findall(text)) + _SPECIAL_TOKENS for text in texts]

    def _words(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())[: self.window_tokens - _SPECIAL_TOKENS]


@lru_cache(maxsize=100_000)
def _bucket(word: str, dimensions: int) -> tuple[int, float]:
    digest = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return (digest >> 1) % dimensions, 1.0 if digest & 1 else -1.0
