"""Bodies under zstd."""

from __future__ import annotations

import threading

import zstandard

from crewmem_producers.errors import InvalidEvent

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A body that unpacks to more is refused: nothing that crewmem publishes comes near it."""


class _Own(threading.local):
    """Each thread's own: neither may be used by two at once, and making one takes longer than using it."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=3)
        self.decompressor = zstandard.ZstdDecompressor()


_own = _Own()


def pack(body: bytes) -> bytes:
    """One frame, which says how long the body is."""
    return _own.compressor.compress(body)


def unpack(packed: bytes) -> bytes:
    """The body of the first frame. Raises InvalidEvent (`bad_encoding`, `too_large`)."""
    try:
        size = zstandard.frame_content_size(packed)
        if size < 0:  # it does not say: one byte over what is taken tells enough
            body = _own.decompressor.stream_reader(packed).read(MAX_BODY_BYTES + 1)
            size = len(body)
        elif size <= MAX_BODY_BYTES:
            body = _own.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise InvalidEvent(f"the body is not zstd: {error}", reason="bad_encoding") from error
    if size > MAX_BODY_BYTES:
        raise InvalidEvent(f"the body unpacks to over {MAX_BODY_BYTES} bytes", reason="too_large")
    return body
