"""Which memories of a session are close to a text: the one comparison that grows with the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from crewmem_store.rows import Vector

_SLACK = 1e-4
"""A product of matrices may be off by so much, by how many rows it has: it only says which pairs are looked at."""
_AT_ONCE = 4 * 2**20
"""Cosines of one product: 16 MB."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found out of a vector ahead: of the first `rows` rows, only those at `places` can be close to it."""

    rows: int = 0
    places: Sequence[int] = field(default_factory=list)


class Neighbours:
    """Vectors, and the ids that they belong to."""

    def __init__(self, *, dimensions: int) -> None:
        self._ids: list[str] = []
        self._matrix: Vector = np.zeros((1, dimensions), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: str, vector: Vector) -> None:
        """Copies the vector."""
        if len(self._ids) == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
        self._matrix[len(self._ids)] = vector
        self._ids.append(id)

    def compare(self, vectors: Sequence[Vector], cosine: float) -> list[Compared]:
        """Holds many vectors against all that are there in few products, which takes a tenth of the time of one by one."""
        rows = len(self._ids)
        places: list[list[int]] = [[] for _ in vectors]
        at_once = max(1, _AT_ONCE // max(1, rows))
        for start in range(0, len(vectors), at_once):
            close = self._matrix[:rows] @ np.stack(vectors[start : start + at_once]).T >= cosine - _SLACK
            for place, which in zip(*(found.tolist() for found in np.nonzero(close)), strict=True):
                places[start + which].append(place)
        return [Compared(rows, found) for found in places]

    def near(self, vector: Vector, cosine: float, ahead: Compared) -> list[str]:
        """Ids of the rows whose cosine to it is at least that. Each pair is judged by itself, so that it does not depend on
        what else the session holds."""
        perhaps = list(ahead.places)
        if ahead.rows < len(self._ids):
            new = self._matrix[ahead.rows : len(self._ids)]
            perhaps += (ahead.rows + np.flatnonzero(new @ vector >= cosine - _SLACK)).tolist()
        return [self._ids[place] for place in perhaps if float(np.dot(self._matrix[place], vector)) >= cosine]
