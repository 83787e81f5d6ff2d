"""What an older generation made of the same events: it is taken over where it would come out the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from crewmem_producers.events import KickoffCompleted
from crewmem_producers.names import memory_id
from crewmem_store.embedder import Embedder
from crewmem_store.generations import Generation
from crewmem_store.rows import MemoryRow, Vector
from crewmem_store.store import Store, StoreReader

from crewmem_consumers.draft import Draft
from crewmem_consumers.metrics import Metrics

MOST_BYTES = 32 * 2**20
"""Over so much what is kept in memory is let go of, and loaded again by session."""


@dataclass(frozen=True, slots=True)
class _Made:
    """Of one memory what may be taken over."""

    source_hash: str | None
    text: str | None
    content: str | None
    summary: str | None
    summariser: str


class Known:
    """Looks things up in one older generation, session by session; without one it knows nothing. Belongs to one worker."""

    def __init__(self, *, partition: int, fingerprint: str, reader: StoreReader | None = None) -> None:
        """`fingerprint` is that of the embedder in use: vectors, and what was decided by them, are taken from no other."""
        self._partition = partition
        self._fingerprint = fingerprint
        self._reader = reader
        self._loaded: set[str] = set()
        self._made: dict[str, _Made] = {}
        self._vectors: dict[str, Vector] = {}
        self._bytes = 0

    def load(self, scopes: Collection[str]) -> None:
        """Loads what is known of these sessions. Blocks. Raises StoreUnavailable."""
        if self._reader is None:
            return
        if self._bytes > MOST_BYTES:
            self._loaded, self._made, self._vectors, self._bytes = set(), {}, {}, 0
        missing = set(scopes) - self._loaded
        if missing:
            found = self._reader.rows(missing, partitions=[self._partition])
            for row, vector in zip(found.rows, found.matrix, strict=True):
                self._keep(row, vector)
            self._loaded |= missing

    def vector(self, text: str) -> Vector | None:
        """The vector of the text, of the embedder in use."""
        return self._vectors.get(text)

    def cut(self, draft: Draft) -> bool:
        """Fills in what was left of the same redacted text once echoes of what was recalled were cut; whether that is known."""
        if not isinstance(draft.event.body, KickoffCompleted) or not draft.event.body.recalled:
            return False  # nothing is to be cut, which takes no time to find out
        id = memory_id(self._partition, str(draft.event.scope), draft.event.id, draft.span.name)
        made = self._made.get(id)
        if made is None or made.source_hash != draft.source_hash:
            return False
        draft.content = made.content
        return True

    def with_summary(self, row: MemoryRow) -> MemoryRow:
        """The row with the LLM summary of the same memory, if its text is the same."""
        made = self._made.get(row.id)
        if made is None or made.summary is None or (made.text, made.content) != (row.text, row.content):
            return row
        return replace(row, summary=made.summary, summariser=made.summariser)

    def _keep(self, row: MemoryRow, vector: Vector) -> None:
        same = row.embedder == self._fingerprint
        self._made[row.id] = _Made(row.source_hash if same else None, row.text, row.content, row.summary, row.summariser)
        self._bytes += 500 + 2 * len(row.content or "") + len(row.text or "")
        if same and row.text is not None:
            self._vectors[row.text] = vector
            self._bytes += vector.nbytes


def known_of(generation: Generation, partition: int, *, store: Store, siblings: Sequence[Generation]) -> Known:
    """What the newest older sibling knows, of the same embedder if there is one: of a newer one nothing is taken, so that
    the generation that answers waits for none that is built."""
    older = [one for one in siblings if _number(one) < _number(generation) and one.partitions == generation.partitions]
    fingerprint = generation.embedder_fingerprint
    best = max(older, key=lambda one: (one.embedder_fingerprint == fingerprint, _number(one)), default=None)
    reader = None if best is None else store.reader(best.name)
    return Known(partition=partition, fingerprint=fingerprint, reader=reader)


class KnowingEmbedder:
    """An embedder that asks the model only for texts whose vector is not known; else just the same."""

    def __init__(self, embedder: Embedder, *, known: Known, metrics: Metrics | None = None) -> None:
        """`metrics` counts vectors by where they came from."""
        self._embedder = embedder
        self.name = embedder.name
        self.dimensions = embedder.dimensions
        self.window_tokens = embedder.window_tokens
        self.fingerprint = embedder.fingerprint
        self._known = known
        self._metrics = metrics

    def embed(self, texts: Sequence[str]) -> Vector:
        """float32 of shape (len(texts), dimensions), each row L2-normalised, in the order of `texts`."""
        matrix = np.empty((len(texts), self.dimensions), dtype=np.float32)
        unknown = []
        for place, text in enumerate(texts):
            vector = self._known.vector(text)
            if vector is None:
                unknown.append(place)
            else:
                matrix[place] = vector
        if unknown:
            matrix[unknown] = self._embedder.embed([texts[place] for place in unknown])
        if self._metrics is not None:
            self._metrics.vectors(embedded=len(unknown), reused=len(texts) - len(unknown))
        return matrix

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


def _number(generation: Generation) -> int:
    return int(generation.name[1:])
