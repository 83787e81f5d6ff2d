"""Bodies under zstd."""

from __future__ import annotations

import threading

import zstandard

from crewmem_producers.errors import InvalidEvent
from crewmem_producers.limits import BODY_BYTES


class _Own(threading.local):
    """Each thread's own: neither may be used by two at once, and making one takes longer than using it."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=3)
        self.decompressor = zstandard.ZstdDecompressor()


_own = _Own()


def pack(body: bytes) -> bytes:
    """One frame, which says how long the body is."""
    return _own.compressor.compress(body)


def unpacked_size(packed: bytes) -> int:
    """How many bytes the first frame says that it unpacks to; BODY_BYTES where it does not say, since it may. Those of `packed`
    where it is no frame."""
    try:
        size: int = zstandard.frame_content_size(packed)
    except zstandard.ZstdError:
        return len(packed)
    return size if size >= 0 else BODY_BYTES


def unpack(packed: bytes) -> bytes:
    """The body of the first frame, which has BODY_BYTES at most. Raises InvalidEvent (`bad_encoding`, `too_large`)."""
    try:
        size = zstandard.frame_content_size(packed)
        if size < 0:  # it does not say: one byte over what is taken tells enough
            body = _own.decompressor.stream_reader(packed).read(BODY_BYTES + 1)
            size = len(body)
        elif size <= BODY_BYTES:
            body = _own.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        raise InvalidEvent(f"the body is not zstd: {error}", reason="bad_encoding") from error
    if size > BODY_BYTES:
        raise InvalidEvent(f"the body unpacks to over {BODY_BYTES} bytes", reason="too_large")
    return body
