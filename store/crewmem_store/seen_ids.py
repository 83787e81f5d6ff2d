"""Which event ids a ledger table may hold: hashes in memory, so that for new events the table is not searched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from crewmem_store.lance_filters import EVERY_ROW
from crewmem_store.lance_table import OwnedTable
from crewmem_store.rows import LedgerRow

RECENT = 8_192
"""Hashes that wait to be sorted in: 8 bytes each there, about 100 as they wait."""


class SeenIds:
    """Grows with its table. An id that was added is always found; another one very rarely is, by an equal hash."""

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._recent: set[int] = set()

    def add(self, ids: Iterable[str | None]) -> None:
        """Adds what is not None."""
        self._recent.update(hash(id) for id in ids if id is not None)
        if len(self._recent) > RECENT:
            new = np.fromiter(self._recent, np.int64, len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, new]))
            self._recent = set()

    def among(self, ids: Collection[str]) -> list[str]:
        """Those of these ids that may be there."""
        if not ids:
            return []
        asked = list(ids)
        hashes = [hash(id) for id in asked]
        sorted_in = self._holds(np.array(hashes, np.int64))
        return [id for id, hashed, there in zip(asked, hashes, sorted_in, strict=True) if there or hashed in self._recent]

    def _holds(self, hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        if not self._sorted.size:
            return np.zeros(hashes.size, np.bool_)
        places = np.minimum(np.searchsorted(self._sorted, hashes), self._sorted.size - 1)
        return np.asarray(self._sorted[places] == hashes)


class SeenRows:
    """The event ids of a ledger table that still grows, whoever writes it; no row of it ever goes."""

    def __init__(self, table: OwnedTable) -> None:
        self._table = table
        self._ids = SeenIds()
        self._version = self._rows = -1

    def among(self, ids: Collection[str]) -> list[str]:
        """Those of these ids that may be in the newest version, at which the table is then. Raises StoreUnavailable."""
        version = self._table.refresh()
        if version != self._version:
            rows = self._table.count()
            if rows != self._rows:  # else it was only compacted
                self._ids = SeenIds()
                self._ids.add(self._table.read(("ce_id",), EVERY_ROW).column("ce_id").to_pylist())
            self._version, self._rows = version, rows
        return self._ids.among(ids)

    def written(self, rows: Sequence[LedgerRow]) -> None:
        """Takes in rows that the owner merged just now, so that the next look need not read the table."""
        if self._table.version == self._version + 1:  # else another writer came between
            self._ids.add(row.ce_id for row in rows)
            self._version += 1
            self._rows = self._table.count()
