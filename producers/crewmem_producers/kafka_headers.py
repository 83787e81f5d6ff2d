"""Records whose header names are not UTF-8, which aiokafka cannot read: one of them would hold up its partition for ever."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, SupportsIndex, overload

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT = struct.calcsize(">q")
_PREFIX = struct.calcsize(">qi")


def accept_any_header_name() -> None:
    """From now on every aiokafka consumer of this process gives such names with surrogates (`surrogateescape`).

    Without it the consumer raises UnicodeDecodeError at the record's whole batch, again and again. aiokafka takes no
    parser of one's own, so its fetcher's is replaced. Safe to call twice.
    """
    fetcher.MemoryRecords = LenientRecords


class LenientRecords:
    """What a fetch brought: aiokafka's records, each batch with its bytes beside it."""

    def __init__(self, data: bytes) -> None:
        self._records: Any = MemoryRecords(data)
        self._data = memoryview(data)
        self._at = 0

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def next_batch(self) -> _Batch:
        (length,) = struct.unpack_from(">i", self._data, self._at + _LENGTH_AT)
        start, self._at = self._at, self._at + _PREFIX + length
        return _Batch(self._records.next_batch(), self._data[start : self._at])


class _Batch:
    """A batch of aiokafka that is parsed once more, leniently and slowly, where that is needed."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            batch: Any = _DefaultRecordBatchPy(self._data)
            batch._maybe_uncompress()
            batch._buffer = _LenientBytes(batch._buffer)
            return iter(list(batch))


class _LenientBytes(bytearray):
    """Bytes whose slices decode with surrogates."""

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytearray: ...
    def __getitem__(self, key: SupportsIndex | slice) -> int | bytearray:
        found = super().__getitem__(key)
        return _LenientBytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
