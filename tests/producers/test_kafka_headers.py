"""One record with a header name that is not UTF-8 keeps no other record from being read."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from crewmem_producers.kafka_headers import LenientRecords


class Bytes(str):
    """A header name that is sent as these bytes."""

    def encode(self, *_: object) -> bytes:
        return b"bad\xff\xfename"


@pytest.fixture(params=[0, 4], ids=["plain", "zstd"])
def batch(request: pytest.FixtureRequest) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=request.param, is_transactional=False, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=100_000,
    )  # fmt: skip
    builder.append(0, 1_000, b"k0", b"v0", [("ce_id", b"a")])
    builder.append(1, 1_000, None, None, [(Bytes("x"), b"\xff"), ("ce_id", None)])
    builder.append(2, 1_000, b"k2", b"v2", [])
    return bytes(builder.build())


def test_aiokafka_alone_gives_none_of_the_batch(batch: bytes) -> None:
    with pytest.raises(Exception, match=r"utf-8|codec|Found invalid"):
        list(MemoryRecords(batch).next_batch())  # type: ignore[arg-type]


def test_every_record_is_given_and_the_name_keeps_its_bytes(batch: bytes) -> None:
    records = LenientRecords(batch)
    assert records.has_next()
    found = records.next_batch()
    assert found.validate_crc()
    assert not found.is_control_batch
    first, second, third = list(found)
    assert (first.offset, first.key, first.value, first.headers) == (0, b"k0", b"v0", [("ce_id", b"a")])
    assert (second.offset, second.key, second.value) == (1, None, None)
    assert [(name.encode("utf-8", "surrogateescape"), value) for name, value in second.headers] == [
        (b"bad\xff\xfename", b"\xff"), (b"ce_id", None),
    ]  # fmt: skip
    assert (third.offset, third.value) == (2, b"v2")
    assert found.next_offset == 3
    assert not records.has_next()
