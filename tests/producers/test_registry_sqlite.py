import asyncio
import logging
import sqlite3
import tempfile
from pathlib import Path

import pytest
from crewmem_producers.errors import LogRefused, RegistryUnavailable
from crewmem_producers.registry_sqlite import SqliteRegistry
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from producers.conformance_registry import OpenRegistry, RegistryConformance


class TestSqliteRegistry(RegistryConformance):
    @pytest.fixture
    def open_registry(self, tmp_path: Path) -> OpenRegistry:
        return lambda namespace="mine": SqliteRegistry(tmp_path / "home" / "log.sqlite3", namespace=namespace)


async def test_a_value_that_was_written_over_leaves_no_bytes_in_the_file(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "log.sqlite3", namespace="mine")
    await registry.start()
    await registry.put("datakey/1", {"wrapped": "a-wrapped-data-key"})
    await registry.put("datakey/1", {"erased": "now"})
    await registry.close()  # the last connection's close is a checkpoint
    assert b"a-wrapped-data-key" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


async def test_what_was_removed_takes_no_room_in_the_table(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "log.sqlite3", namespace="mine")
    await registry.start()
    for n in range(20):
        await registry.put(f"opener/host/{n}", {"n": n})
        await registry.remove(f"opener/host/{n}")
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        assert other.execute("SELECT count(*) FROM registry").fetchone()[0] <= 1
    await registry.close()


async def test_a_table_that_cannot_be_read_is_said_once_and_the_last_state_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = SqliteRegistry(tmp_path / "log.sqlite3", namespace="mine", follow_seconds=0.01)
    await registry.start()
    await registry.put("active", {"generation": "g1"})
    caplog.set_level(logging.INFO, "crewmem_producers")
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        other.execute("ALTER TABLE registry RENAME TO gone")
    async with asyncio.timeout(30):
        while not caplog.records:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert registry.get("active") == {"generation": "g1"}
    with pytest.raises(RegistryUnavailable, match="no such table"):
        await registry.refresh()
    with sqlite3.connect(tmp_path / "log.sqlite3") as other:
        other.execute("ALTER TABLE gone RENAME TO registry")
    async with asyncio.timeout(30):
        while len(caplog.records) < 2:
            await asyncio.sleep(0.01)
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO"]
    await registry.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(LogRefused, match="move it away"):
        await SqliteRegistry(tmp_path / "log.sqlite3", namespace="mine").start()


KEYS = st.sampled_from(["active", "apikey/a", "apikey/b", "generation/g1"])


@examples(max_examples=30)  # each one syncs a file to the disk many times
@given(st.lists(st.tuples(st.integers(0, 2), KEYS, st.integers()), max_size=20))
def test_every_view_is_what_was_put_last_under_each_key(puts: list[tuple[int, str, int]]) -> None:
    async def check(path: Path) -> None:
        registries = [SqliteRegistry(path, namespace="mine", follow_seconds=60) for _ in range(3)]
        for registry in registries:
            await registry.start()
        expected: dict[str, dict[str, int]] = {}
        for writer, key, number in puts:
            await registries[writer].put(key, {"n": number})
            expected[key] = {"n": number}
            assert registries[writer].items("") == expected
        for registry in registries:
            await registry.refresh()
            assert registry.items("") == expected
            await registry.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder) / "log.sqlite3"))
