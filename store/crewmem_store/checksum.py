"""A checksum for each memory: whether its text, content and vector are what was written."""

from __future__ import annotations

import zlib

from crewmem_store.rows import Vector


def checksum(id: str, text: str, content: str | None, vector: Vector | None) -> int:
    """CRC-32 over the four. Of equal ones it is the same on every machine: a vector counts as little-endian float32."""
    crc = 0
    for part in (id, text, content or ""):
        crc = zlib.crc32(part.encode("utf-8", "surrogatepass") + b"\0", crc)
    return crc if vector is None else zlib.crc32(vector.astype("<f4").tobytes(), crc)
