"""The conformance suite of the embedder seam: subclass `EmbedderConformance` and give it an `embedder` fixture."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from crewmem_store.embedder import Embedder
from crewmem_store.rows import Vector

TEXTS = [
    "Acme raised its price to 49 dollars a month.",
    "",
    "   ",
    "The researcher found three competitors in the Nordic market. " * 12,
    "Ünïcödé 一二三 🙂 and a\nnewline\t.",
    "short",
]


class EmbedderConformance:
    """Subclass it in a test module; name the class Test..."""

    @pytest.fixture
    def embedder(self) -> Embedder:
        raise NotImplementedError("a subclass gives the fixture `embedder`")

    def test_vectors_are_float32_of_length_one_in_the_order_of_the_texts(self, embedder: Embedder) -> None:
        matrix = embedder.embed(TEXTS)
        assert matrix.dtype == np.float32
        assert matrix.shape == (len(TEXTS), embedder.dimensions)
        assert np.allclose(np.linalg.norm(matrix, axis=1), 1.0, atol=1e-5)
        for text, vector in zip(TEXTS, matrix, strict=True):
            assert float(embedder.embed([text])[0] @ vector) == pytest.approx(1.0, abs=1e-4)

    def test_no_text_gives_no_vector(self, embedder: Embedder) -> None:
        assert embedder.embed([]).shape == (0, embedder.dimensions)
        assert embedder.count_tokens([]) == []

    def test_the_same_texts_give_the_same_bytes(self, embedder: Embedder) -> None:
        assert np.array_equal(embedder.embed(TEXTS), embedder.embed(TEXTS))

    def test_more_texts_than_a_batch_keep_their_order(self, embedder: Embedder) -> None:
        texts = [f"memory number {n} " + "and more " * (n % 7) for n in range(45)]
        matrix = embedder.embed(texts)
        alone = embedder.embed([texts[31]])[0]
        assert int(np.argmax(matrix @ alone)) == 31

    def test_a_text_that_says_nearly_the_same_is_nearer_than_another(self, embedder: Embedder) -> None:
        asked, near, far = embedder.embed(
            ["price of the Acme plan", "the Acme plan has a new price", "rain is expected in Oslo tomorrow"]
        )
        assert float(asked @ near) > float(asked @ far) + 0.2

    def test_tokens_grow_with_the_text_and_tell_what_does_not_fit(self, embedder: Embedder) -> None:
        short, long = embedder.count_tokens(["one two", "one two " * embedder.window_tokens])
        assert 2 <= short < 8
        assert long > embedder.window_tokens

    def test_what_is_beyond_the_window_does_not_reach_the_vector(self, embedder: Embedder) -> None:
        start = "one two " * embedder.window_tokens
        first, second = embedder.embed([start + "three", start + "entirely different words"])
        assert float(first @ second) == pytest.approx(1.0, abs=1e-4)

    def test_it_names_itself(self, embedder: Embedder) -> None:
        assert embedder.name
        assert embedder.fingerprint
        assert embedder.dimensions > 0

    def test_several_threads_get_what_one_gets(self, embedder: Embedder) -> None:
        expected = embedder.embed(TEXTS)
        found: list[Vector] = []

        def work() -> None:
            found.append(embedder.embed(TEXTS))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert len(found) == 4
        assert all(np.allclose(matrix, expected, atol=1e-5) for matrix in found)
