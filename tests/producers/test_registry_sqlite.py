import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest
from crewmem_producers.errors import LogRefused, RegistryUnavailable
from crewmem_producers.registry_sqlite import SqliteRegistry
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
