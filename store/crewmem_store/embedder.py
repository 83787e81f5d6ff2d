"""The embedder seam: two methods and a fingerprint.

`embedders.open_embedder(name)` gives the real one; `embedder_hashing.HashingEmbedder` is the twin for tests;
`tests/store/conformance_embedder.py` is the suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crewmem_store.rows import Vector


class Embedder(Protocol):
    """Text to vectors. `fingerprint` changes whenever the same text would give another vector."""

    name: str
    dimensions: int
    window_tokens: int
    """What is beyond this many tokens of a text does not reach its vector."""
    fingerprint: str

    def embed(self, texts: Sequence[str]) -> Vector:
        """float32 of shape (len(texts), dimensions), each row L2-normalised, in the order of `texts`."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones included: over `window_tokens` it does not fit."""
