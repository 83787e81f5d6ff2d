import asyncio
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.log import Record
from crewmem_producers.log_sqlite import SqliteLog
from hypothesis import given
from hypothesis import strategies as st
from producers.conformance_log import LogConformance, OpenLog, read_all, record, values

APPENDER = """
import asyncio, sys
from pathlib import Path
from crewmem_producers.log import Record
from crewmem_producers.log_sqlite import SqliteLog

async def main(path, name, batches, size):
    log = SqliteLog(Path(path), topic="events")
    await log.start()
    for batch in range(int(batches)):
        bodies = [f"{name} {batch * int(size) + n}".encode() for n in range(int(size))]
        positions = await log.append([Record(name.encode(), body, partition=0) for body in bodies])
        for position, body in zip(positions, bodies):
            print(position.offset, body.decode(), flush=True)
    await log.close()

asyncio.run(main(*sys.argv[1:]))
"""


class TestSqliteLog(LogConformance):
    @pytest.fixture
    def open_log(self, tmp_path: Path) -> OpenLog:
        return lambda partitions: SqliteLog(tmp_path / "home" / "log.sqlite3", topic="t.events.v1", partitions=partitions)


def appender(path: Path, name: str, *, batches: int, size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPENDER, str(path), name, str(batches), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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


async def test_two_processes_that_append_at_once_share_one_row_of_offsets(tmp_path: Path) -> None:
    processes = [appender(tmp_path / "log.sqlite3", name, batches=40, size=5) for name in "abc"]
    outputs = [await asyncio.to_thread(process.communicate, timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    acknowledged = dict(line.split(" ", 1) for output, _ in outputs for line in output.splitlines())
    log = SqliteLog(tmp_path / "log.sqlite3", topic="events")
    await log.start()
    written = [(one.value or b"").decode() for one in await read_all(log, 0)]
    await log.close()
    assert {str(offset): body for offset, body in enumerate(written)} == acknowledged
    for name in "abc":
        assert [body for body in written if body.startswith(name)] == [f"{name} {n}" for n in range(200)]


@pytest.mark.parametrize("after", [1, 60, 150])
async def test_kill_9_of_an_appending_process_loses_nothing_that_was_acknowledged(tmp_path: Path, after: int) -> None:
    process = appender(tmp_path / "log.sqlite3", "a", batches=100_000, size=3)
    assert process.stdout is not None
    lines = list(itertools.islice(process.stdout, after))
    os.kill(process.pid, signal.SIGKILL)
    lines += [line for line in process.stdout.readlines() if line.endswith("\n")]
    process.wait(30)
    process.stdout.close()
    log = SqliteLog(tmp_path / "log.sqlite3", topic="events")
    await log.start()
    written = [(one.value or b"").decode() for one in await read_all(log, 0)]
    assert len(written) % 3 == 0  # a batch is there whole or not at all
    for line in lines:
        offset, body = line.rstrip("\n").split(" ", 1)
        assert written[int(offset)] == body
    assert (await log.append([record(0)]))[0].offset == len(written)
    await log.close()


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
