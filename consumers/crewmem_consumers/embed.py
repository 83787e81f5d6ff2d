"""Embed: vectors of strings, each string once, in order of length so that small batches hold texts of one length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from crewmem_store.embedder import Embedder
from crewmem_store.rows import Vector

from crewmem_consumers.draft import Draft

KEPT = 4096
"""Vectors that are kept: 6 MB at 384 dimensions."""


class Vectors:
    """The vectors of strings: what was embedded lately is kept, so that a memory recalled into ten kickoffs costs once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: OrderedDict[str, Vector] = OrderedDict()

    def embed(self, texts: Iterable[str]) -> dict[str, Vector]:
        """The vector of every distinct text, float32 of shape (d,)."""
        wanted = dict.fromkeys(texts)
        new = sorted((text for text in wanted if text not in self._known), key=lambda text: (len(text), text))
        if new:
            self._known.update(zip(new, self._embedder.embed(new), strict=True))
        found = {text: self._known[text] for text in wanted}
        for text in wanted:
            self._known.move_to_end(text)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found


def embed(drafts: Sequence[Draft], *, vectors: Vectors) -> None:
    """Fills `vector`, of `text`."""
    found = vectors.embed(draft.text for draft in drafts)
    for draft in drafts:
        draft.vector = found[draft.text]
