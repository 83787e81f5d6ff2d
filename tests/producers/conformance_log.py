"""The conformance suite of the event log contract: subclass `LogConformance` and give it an `open_log` fixture.

`open_log(partitions)` gives a new, not started log object at the test's one place each time: what one appends, the next
one reads. A topic that is not there is made with that many partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from crewmem_producers.errors import EventTooLarge, LogUnavailable
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.log import EventLog, LoggedRecord, Position, Record
from crewmem_producers.names import Scope, partition_of

OpenLog = Callable[[int], EventLog]


def record(number: int, *, partition: int | None = 0, value: bytes | None = None) -> Record:
    headers = (("ce_id", f"id-{number}".encode()), ("ce_type", b"t"))
    return Record(b"acme/key", value if value is not None else f"body {number}".encode(), headers, partition)


async def read_all(log: EventLog, partition: int) -> list[LoggedRecord]:
    """Every record of the partition, read in pieces of any size that the log gives."""
    found: list[LoggedRecord] = []
    offset, end = (await log.first())[partition], (await log.end())[partition]
    while offset < end:
        found += await log.read(partition, offset)
        offset = found[-1].offset + 1
    return found


def values(records: list[LoggedRecord]) -> list[bytes | None]:
    return [one.value for one in records]


class LogConformance:
    async def test_an_empty_log_has_equal_ends_and_reads_as_nothing(self, open_log: OpenLog) -> None:
        log = open_log(3)
        await log.start()
        assert log.partitions == 3
        assert await log.first() == await log.end() == {0: 0, 1: 0, 2: 0}
        assert await log.read(1, 0) == []
        await log.close()

    async def test_offsets_are_contiguous_from_0_in_each_partition(self, open_log: OpenLog) -> None:
        log = open_log(3)
        await log.start()
        first = await log.append([record(0, partition=1), record(1, partition=2), record(2, partition=1)])
        second = await log.append([record(3, partition=1)])
        assert first + second == [Position(1, 0), Position(2, 0), Position(1, 1), Position(1, 2)]
        assert await log.end() == {0: 0, 1: 3, 2: 1}
        assert values(await log.read(1, 0)) == [b"body 0", b"body 2", b"body 3"]
        await log.close()

    async def test_appending_nothing_is_nothing(self, open_log: OpenLog) -> None:
        log = open_log(1)
        await log.start()
        assert await log.append([]) == []
        assert await log.end() == {0: 0}
        await log.close()

    async def test_a_record_comes_back_as_it_was_appended(self, open_log: OpenLog) -> None:
        log = open_log(1)
        await log.start()
        every_byte = bytes(range(256))
        odd = [
            Record(b"k", every_byte, (("ce_id", b"1"), ("binary", every_byte), ("ce_id", b"again"), ("empty", b""))),
            Record(None, b"no key", ()),
            Record(b"acme/x", None, (("größe", b"\xff"),)),
            Record(b"", b"", ()),
        ]
        positions = await log.append(odd)
        found = await log.read(0, 0)
        assert [(one.key, one.value, one.headers) for one in found] == [(one.key, one.value, one.headers) for one in odd]
        assert [one.position for one in found] == positions
        assert all(one.timestamp_ms > 1_600_000_000_000 for one in found)
        await log.close()

    async def test_the_key_decides_the_partition_unless_one_is_named(self, open_log: OpenLog) -> None:
        log = open_log(4)
        await log.start()
        keys = [Scope.of("acme", f"session {n}").key for n in range(20)]
        positions = await log.append([Record(key.encode(), b"x") for key in keys])
        assert [one.partition for one in positions] == [partition_of(key, 4) for key in keys]
        assert (await log.append([Record(keys[0].encode(), b"x", partition=3)]))[0].partition == 3
        assert (await log.append([Record(b"\xff\xfe", b"not UTF-8")]))[0].partition == partition_of(b"\xff\xfe", 4)
        await log.close()

    async def test_a_partition_that_is_not_there_is_refused_and_nothing_is_appended(self, open_log: OpenLog) -> None:
        log = open_log(2)
        await log.start()
        with pytest.raises(ValueError, match="partitions 0 to 1"):
            await log.append([record(0), record(1, partition=2)])
        assert await log.end() == {0: 0, 1: 0}
        await log.close()

    async def test_reading_starts_at_the_offset_and_stops_at_the_limit(self, open_log: OpenLog) -> None:
        log = open_log(2)
        await log.start()
        await log.append([record(n, partition=n % 2) for n in range(40)])
        assert [one.offset for one in await log.read(1, 5, limit=3)] == [5, 6, 7]
        assert [one.offset for one in await log.read(1, 8, limit=1)] == [8]  # right after what was read
        assert [one.offset for one in await log.read(1, 2, limit=2)] == [2, 3]  # back
        assert [one.offset for one in await log.read(0, 2, limit=2)] == [2, 3]  # elsewhere
        assert [one.offset for one in await log.read(1, 19)] == [19]
        assert await log.read(1, 20) == []
        assert await log.read(1, 1000) == []
        await log.close()

    async def test_a_reader_at_the_end_sees_what_another_appends(self, open_log: OpenLog) -> None:
        writer, reader = open_log(1), open_log(1)
        await writer.start()
        await reader.start()
        for n in range(3):
            assert await reader.read(0, n) == []
            await writer.append([record(n)])
            assert values(await reader.read(0, n)) == [f"body {n}".encode()]
        await writer.close()
        await reader.close()

    async def test_a_log_keeps_its_number_of_partitions(self, open_log: OpenLog) -> None:
        first = open_log(3)
        await first.start()
        await first.append([record(0, partition=2)])
        await first.close()
        second = open_log(5)
        await second.start()
        assert second.partitions == 3
        assert values(await second.read(2, 0)) == [b"body 0"]
        await second.close()

    async def test_appends_at_once_are_each_in_order_and_all_there(self, open_log: OpenLog) -> None:
        log, other = open_log(1), open_log(1)
        await log.start()
        await other.start()
        batches = [[record(100 * batch + n) for n in range(20)] for batch in range(10)]
        logs = [log, other]
        done = await asyncio.gather(*(logs[n % 2].append(batch) for n, batch in enumerate(batches)))
        offsets = [position.offset for positions in done for position in positions]
        assert sorted(offsets) == list(range(200))
        written = values(await read_all(log, 0))
        for batch, positions in zip(batches, done, strict=True):
            assert [written[position.offset] for position in positions] == [one.value for one in batch]
            assert [one.offset for one in positions] == sorted(one.offset for one in positions)
        await log.close()
        await other.close()

    async def test_large_bodies_are_read_to_the_last(self, open_log: OpenLog) -> None:
        log = open_log(1)
        await log.start()
        bodies = [bytes([n]) * 9_000_000 for n in range(5)]
        for body in bodies:
            await log.append([record(0, value=body)])
        assert values(await read_all(log, 0)) == bodies
        await log.close()

    async def test_a_record_that_the_log_never_takes_is_refused_and_nothing_is_appended(self, open_log: OpenLog) -> None:
        log = open_log(1)
        await log.start()
        with pytest.raises(EventTooLarge):
            await log.append([record(1), record(2, value=bytes(RECORD_BYTES))])
        assert await log.end() == {0: 0}
        (position,) = await log.append([record(3, value=bytes(RECORD_BYTES - 1000))])
        assert position.offset == 0
        await log.close()

    async def test_reading_and_appending_at_once_from_many_tasks(self, open_log: OpenLog) -> None:
        log = open_log(2)
        await log.start()

        async def write(partition: int) -> None:
            for n in range(25):
                await log.append([record(n, partition=partition)])

        async def follow(partition: int) -> list[bytes | None]:
            found: list[LoggedRecord] = []
            while len(found) < 25:
                found += await log.read(partition, len(found), limit=7)
                await asyncio.sleep(0.001)
            return values(found)

        results = await asyncio.gather(write(0), write(1), follow(0), follow(1), follow(0))
        assert results[2] == results[3] == results[4] == [f"body {n}".encode() for n in range(25)]
        await log.close()

    async def test_a_log_that_is_not_started_or_closed_is_unavailable(self, open_log: OpenLog) -> None:
        log = open_log(1)
        with pytest.raises(LogUnavailable):
            await log.read(0, 0)
        await log.start()
        await log.close()
        await log.close()
        for call in (log.append([record(0)]), log.read(0, 0), log.first(), log.end()):
            with pytest.raises(LogUnavailable):
                await call
