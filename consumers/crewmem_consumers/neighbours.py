"""Which memories of a session are close to a text, among those with the same claims."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import numpy as np
from crewmem_store.rows import MemoryRow, Vector

from crewmem_consumers.claims import claims

_SLACK = 1e-4
"""A product of matrices may be off by so much, by how many rows it has: it only says which pairs are looked at."""

_Claims = frozenset[tuple[str, int]]


class Neighbours:
    """Vectors by the claims of their texts: only where those are equal can one text repeat another, so few are compared."""

    def __init__(self, *, dimensions: int) -> None:
        self._dimensions = dimensions
        self._new: list[MemoryRow] = []
        self._groups: dict[_Claims, _Group] = defaultdict(lambda: _Group(dimensions))

    def add(self, row: MemoryRow) -> None:
        """A row with a vector and a text. Its claims are found when they are first asked for."""
        self._new.append(row)

    def near(self, vector: Vector, extract: str, cosine: float) -> list[str]:
        """Ids of the rows with the claims of this extract whose cosine to it is at least that."""
        for row in self._new:
            if row.vector is not None:
                self._groups[_claims(extract_of(row))].add(row.id, row.vector)
        self._new.clear()
        group = self._groups.get(_claims(extract))
        return [] if group is None else group.near(vector, cosine)


class _Group:
    def __init__(self, dimensions: int) -> None:
        self._ids: list[str] = []
        self._matrix: Vector = np.zeros((1, dimensions), dtype=np.float32)

    def add(self, id: str, vector: Vector) -> None:
        if len(self._ids) == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
        self._matrix[len(self._ids)] = vector
        self._ids.append(id)

    def near(self, vector: Vector, cosine: float) -> list[str]:
        """Each pair is judged by itself, so that it does not depend on what else the session holds."""
        perhaps = np.flatnonzero(self._matrix[: len(self._ids)] @ vector >= cosine - _SLACK)
        return [self._ids[place] for place in perhaps if float(np.dot(self._matrix[place], vector)) >= cosine]


def extract_of(row: MemoryRow) -> str:
    """The row's text without `<who> (<date>): `."""
    return (row.text or "").partition(f"({row.created_at:%Y-%m-%d}): ")[2]


@lru_cache(maxsize=4096)
def _claims(extract: str) -> _Claims:
    return frozenset(claims(extract).items())
