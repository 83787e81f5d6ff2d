"""Bodies under zstd: what was packed is unpacked, and what claims or makes too much is refused before it fills the memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from crewmem_producers.compression import pack, unpack
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.limits import BODY_BYTES
from hypothesis import given
from hypothesis import strategies as st


def without_its_size(body: bytes) -> bytes:
    """As another producer may write it."""
    return zstandard.ZstdCompressor(write_content_size=False).compress(body)


@given(st.binary(max_size=5000))
def test_what_was_packed_is_unpacked_whether_the_frame_says_its_size_or_not(body: bytes) -> None:
    assert unpack(pack(body)) == body == unpack(without_its_size(body))


@pytest.mark.parametrize("packing", [pack, without_its_size])
def test_what_unpacks_to_too_much_is_refused(packing: Callable[[bytes], bytes]) -> None:
    assert len(unpack(packing(bytes(BODY_BYTES)))) == BODY_BYTES
    with pytest.raises(InvalidEvent) as error:
        unpack(packing(bytes(BODY_BYTES + 1)))
    assert error.value.reason == "too_large"


@pytest.mark.parametrize("packed", [b"", b"\x00\xff" * 9, pack(b"a" * 900)[:-3], pack(bytes(range(256)))[:40]])
def test_what_is_no_whole_frame_is_refused(packed: bytes) -> None:
    with pytest.raises(InvalidEvent) as error:
        unpack(packed)
    assert error.value.reason == "bad_encoding"


def test_threads_do_not_disturb_each_other() -> None:
    bodies = [bytes([number]) * (1000 + number) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda body: unpack(pack(body)), bodies * 20)) == bodies * 20
