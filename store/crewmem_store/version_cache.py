"""What a reader has read of tables, kept while they have the same version."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

ENTRY_BYTES, NAME_BYTES = 1_000, 100
"""What keeping something costs beside it, and a name beside its characters: sessions that hold nothing are kept too."""


@dataclass(frozen=True, slots=True)
class _Kept:
    version: Hashable
    value: Any
    size: int


class VersionCache:
    """Values by key, each true for one version; the ones used last are kept, up to `max_bytes`. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, version: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value that is kept for this version, else what `make` gives, which is then kept; `size` is in bytes.

        A key is made of names and numbers. Several threads may make the same value at the same time.
        """
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.version == version:
                self._kept.move_to_end(key)
                found: T = kept.value
                return found
        value = make()
        with self._lock:
            self._drop(key)
            self._kept[key] = _Kept(version, value, ENTRY_BYTES + _key_size(key) + size(value))
            self._bytes += self._kept[key].size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))
        return value

    def _drop(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size


def names_size(names: Collection[str]) -> int:
    """About how many bytes these names take."""
    return sum(NAME_BYTES + len(name) for name in names)


def _key_size(key: Hashable) -> int:
    if isinstance(key, tuple | frozenset):
        return sum(map(_key_size, key))
    return names_size([key]) if isinstance(key, str) else NAME_BYTES
