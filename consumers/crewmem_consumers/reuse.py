"""Vectors taken from an older generation: the same text under the same embedder has the same vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from crewmem_producers.codec import decode
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.log import LoggedRecord
from crewmem_store.embedder import Embedder
from crewmem_store.generations import Generation
from crewmem_store.rows import Vector
from crewmem_store.store import StoreReader

from crewmem_consumers.ingestor import Ingestor, Processed

MOST_VECTORS = 100_000
"""Over so many (150 MB at 384 dimensions) the vectors kept in memory are let go, and loaded again by session."""


class ReusingEmbedder:
    """An embedder that asks the model only for texts which the older generation does not hold; else just the same."""

    def __init__(self, embedder: Embedder, *, count: Callable[[int, int], None] = lambda embedded, reused: None) -> None:
        """`count(embedded, reused)` is told of each call how many vectors came from the model, and how many did not."""
        self._embedder = embedder
        self.name = embedder.name
        self.dimensions = embedder.dimensions
        self.window_tokens = embedder.window_tokens
        self.fingerprint = embedder.fingerprint
        self._count = count
        self._older: StoreReader | None = None
        self._older_partitions = 0
        self._loaded: set[str] = set()
        self._vectors: dict[str, Vector] = {}

    def reuse(self, generation: Generation, reader: StoreReader) -> None:
        """Takes vectors from that generation from now on, if they are of the same embedder."""
        if generation.embedder_fingerprint == self.fingerprint:
            self._older, self._older_partitions = reader, generation.partitions

    def prepare(self, records: Sequence[LoggedRecord]) -> None:
        """Loads what the older generation knows of these records' sessions. Raises StoreUnavailable."""
        if self._older is None:
            return
        if len(self._vectors) > MOST_VECTORS:
            self._loaded.clear()
            self._vectors.clear()
        missing = _scopes(records) - self._loaded
        if not missing:
            return
        found = self._older.rows(missing, partitions=range(self._older_partitions))
        for row, vector in zip(found.rows, found.matrix, strict=True):
            if row.text is not None and row.embedder == self.fingerprint:
                self._vectors[row.text] = vector
        self._loaded |= missing

    def embed(self, texts: Sequence[str]) -> Vector:
        """float32 of shape (len(texts), dimensions), each row L2-normalised, in the order of `texts`."""
        matrix = np.empty((len(texts), self.dimensions), dtype=np.float32)
        unknown = []
        for place, text in enumerate(texts):
            vector = self._vectors.get(text)
            if vector is None:
                unknown.append(place)
            else:
                matrix[place] = vector
        if unknown:
            matrix[unknown] = self._embedder.embed([texts[place] for place in unknown])
        self._count(len(unknown), len(texts) - len(unknown))
        return matrix

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


class Reusing:
    """An ingestor that looks, before each call, at what the older generation knows of the records."""

    def __init__(self, ingestor: Ingestor, embedder: ReusingEmbedder) -> None:
        self._ingestor = ingestor
        self._embedder = embedder
        self.position, self.verify, self.idle = ingestor.position, ingestor.verify, ingestor.idle

    def process(self, records: Sequence[LoggedRecord], *, stopping: Callable[[], bool] = lambda: False) -> Processed | None:
        """As `Ingestor.process`."""
        self._embedder.prepare(records)
        return self._ingestor.process(records, stopping=stopping)


def _scopes(records: Sequence[LoggedRecord]) -> set[str]:
    scopes = set()
    for record in records:
        try:
            event = decode(record)
        except InvalidEvent:
            continue  # it becomes a dead letter, or is sealed: nothing of it can be looked up here
        if event.scope is not None:
            scopes.add(str(event.scope))
    return scopes
