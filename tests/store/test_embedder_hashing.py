"""The hashing embedder."""

from __future__ import annotations

import numpy as np
import pytest
from crewmem_store.embedder_hashing import HashingEmbedder
from store.conformance_embedder import EmbedderConformance


class TestHashingEmbedder(EmbedderConformance):
    @pytest.fixture
    def embedder(self) -> HashingEmbedder:
        return HashingEmbedder()


def test_texts_that_share_words_are_similar_and_others_are_not() -> None:
    query, near, far = HashingEmbedder().embed(
        ["price of Acme's plan", "the price of the plan of Acme", "Weather: rain in Oslo tomorrow"]
    )
    assert query @ near > 0.6
    assert abs(float(query @ far)) < 0.3


def test_vectors_are_the_same_in_every_process() -> None:
    (vector,) = HashingEmbedder().embed(["alpha gamma"])
    assert {int(place) for place in np.flatnonzero(vector)} == {124, 169}


def test_other_dimensions_are_another_fingerprint() -> None:
    assert HashingEmbedder(dimensions=8).fingerprint != HashingEmbedder().fingerprint
