import asyncio
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.log import Position, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.settings import KafkaSettings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from producers.conformance_log import LogConformance, OpenLog, read_all, record, values
from producers.conformance_log_processes import LogProcessConformance


class TestSqliteLog(LogConformance):
    @pytest.fixture
    def open_log(self, tmp_path: Path) -> OpenLog:
        return lambda partitions: SqliteLog(tmp_path / "home" / "log.sqlite3", topic="t.events.v1", partitions=partitions)


class TestSqliteLogProcesses(LogProcessConformance):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> KafkaSettings:
        return KafkaSettings(home=tmp_path)


async def test_topics_of_one_file_see_nothing_of_each_other(tmp_path: Path) -> None:
    events = SqliteLog(tmp_path / "log.sqlite3", topic="events")
    letters = SqliteLog(tmp_path / "log.sqlite3", topic="events.dlq", partitions=2)
    await events.start()
    await letters.start()
    await events.append([record(1), record(2)])
    await letters.append([record(9, partition=1)])
    assert await events.end() == {0: 2}
    assert await letters.end() == {0: 0, 1: 1}
    assert values(await letters.read(1, 0)) == [b"body 9"]
    await events.close()
    await letters.close()


async def test_records_that_are_gone_are_not_counted_again(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite3", topic="events")
    await log.start()
    await log.append([record(n) for n in range(5)])
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        other.execute('DELETE FROM log_records WHERE "offset" IN (0, 1, 4)')
    assert (await log.first(), await log.end()) == ({0: 2}, {0: 5})
    assert [one.offset for one in await log.read(0, 0)] == [2, 3]
    assert (await log.append([record(5)]))[0].offset == 5
    await log.close()


@examples(max_examples=30)  # each one syncs a file to the disk many times
@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.binary(max_size=8), max_size=4)), max_size=8))
def test_a_partition_reads_as_what_was_appended_to_it_in_order(batches: list[tuple[int, list[bytes]]]) -> None:
    async def check(path: Path) -> None:
        log = SqliteLog(path, topic="events", partitions=3)
        await log.start()
        for partition, bodies in batches:
            await log.append([Record(b"k", body, partition=partition) for body in bodies])
        for partition in range(3):
            expected = [body for at, bodies in batches for body in bodies if at == partition]
            assert values(await read_all(log, partition)) == expected
            assert (await log.end())[partition] == len(expected)
        await log.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder) / "log.sqlite3"))


async def test_an_error_of_sqlite_is_log_unavailable_and_the_log_works_on(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite3", topic="events")
    await log.start()
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        other.execute("ALTER TABLE log_records RENAME TO gone")
    with pytest.raises(LogUnavailable, match="no such table") as caught:
        await log.append([record(0)])
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    with pytest.raises(LogUnavailable, match="no such table"):
        await log.read(0, 0)
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        other.execute("ALTER TABLE gone RENAME TO log_records")
    assert (await log.append([record(0)]))[0].offset == 0
    await log.close()


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("int too large"), sqlite3.OperationalError("disk I/O error")])
async def test_whoever_appends_at_once_with_one_that_fails_is_told_that_nothing_was_appended(
    tmp_path: Path, error: Exception
) -> None:
    fails = [True]

    def clock() -> float:
        if fails[0]:
            raise error
        return 0.0

    log = SqliteLog(tmp_path / "log.sqlite3", topic="events", clock=clock)
    await log.start()
    gate = threading.Event()
    holding = asyncio.create_task(log._writer.run(lambda connection: gate.wait()))
    appends = [asyncio.create_task(log.append([record(number)])) for number in range(3)]
    await asyncio.sleep(0)
    gate.set()
    await holding
    for append in appends:
        with pytest.raises(LogUnavailable) as caught:
            await append
        assert caught.value.__cause__ is error
    assert await log.end() == {0: 0}
    fails[0] = False
    assert await log.append([record(9)]) == [Position(0, 0)]
    await log.close()


async def test_a_folder_that_cannot_be_made_is_log_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnavailable, match="cannot be opened"):
        await SqliteLog(tmp_path / "file" / "log.sqlite3", topic="events").start()


async def test_a_file_of_a_newer_crewmem_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(LogRefused, match="newer crewmem"):
        await SqliteLog(tmp_path / "log.sqlite3", topic="events").start()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(LogRefused, match="move it away"):
        await SqliteLog(tmp_path / "log.sqlite3", topic="events").start()
