"""Short marks for many names: 8 bytes each, so that millions of rows are compared in memory that does not grow with texts."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np
import numpy.typing as npt

Marks = npt.NDArray[np.uint64]


def mark(*names: str | None) -> int:
    """64 bits that stand for the names; two that differ share one once in some billion billions."""
    joined = "\n".join(name or "" for name in names)
    return int.from_bytes(hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class Column:
    """A growing column of 64-bit numbers, never negative."""

    def __init__(self) -> None:
        self._values = array("Q")

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: int) -> None:
        """Appends it; 0 to 2**64 - 1."""
        self._values.append(value)

    def values(self) -> Marks:
        """All of them; shape (n,), uint64."""
        return np.array(self._values, dtype=np.uint64)
