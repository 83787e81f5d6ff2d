"""A disk that is full or read-only: one clear sentence with the remedy wherever something is written, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from crewmem.cli.home import hold_home, keep
from crewmem_producers import local_service
from crewmem_producers.errors import LogUnavailable, RegistryUnavailable, SettingsError
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.settings import API_KEY_NAME
from support import programs
from support.small_disk import fill, make_read_only, small_disk

ROOM = r"[Ff]ree some space"


def up(home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crewmem.cli", "up", "--port", "0", "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("kilobytes", "full"), [(64, True), (64, False), (100, False)])
def test_up_on_a_full_disk_says_what_to_do(kilobytes: int, full: bool, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=kilobytes, full=full) as home:
        ended = up(home)
    assert ended.returncode in (2, 3), ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("crewmem: ") and str(home) in last and "ree some space" in last


def test_up_on_a_read_only_disk_says_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64) as home:
        make_read_only(home)
        ended = up(home)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "read-only: name a folder on another one with --home" in " ".join(ended.stderr.splitlines()[-1].split())


def test_neither_key_is_left_half_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64, full=True) as home:
        with pytest.raises(SettingsError, match=ROOM):
            keep(home, API_KEY_NAME, "am_live_1" * 1000)
        assert {path.name for path in home.iterdir()} <= {"filling"}


def test_the_home_is_free_again_after_the_disk_was_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64, full=True) as home:
        with pytest.raises(SettingsError, match=ROOM), hold_home(home):
            pass
        (home / "filling").unlink()
        with hold_home(home):
            local_service.write(home, "http://127.0.0.1:1")
            assert local_service.address(home) == "http://127.0.0.1:1"


async def test_the_log_and_the_registry_say_it_when_they_open(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64, full=True) as home:
        with pytest.raises(LogUnavailable, match=ROOM):
            await SqliteLog(home / "log.sqlite3", topic="t").start()
        with pytest.raises(RegistryUnavailable, match=ROOM):
            await SqliteRegistry(home / "log.sqlite3", namespace="n").start()


async def test_the_log_and_the_registry_say_it_when_they_write_and_go_on_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=1000) as home:
        registry = SqliteRegistry(home / "log.sqlite3", namespace="n")
        await registry.start()
        try:
            fill(home)
            with pytest.raises(RegistryUnavailable, match=ROOM):
                for number in range(100):
                    await registry.put(f"apikey/{number}", {"name": "x" * 10_000})
            (home / "filling").unlink()
            await registry.put("apikey/last", {"name": "y"})
            assert registry.get("apikey/last") == {"name": "y"}
        finally:
            await registry.close()


def test_a_crew_on_a_full_disk_ends_without_a_traceback(tmp_path: Path) -> None:
    code = """
        import crewmem
        from crewmem import Event, MemoryRemembered, Scope
        publisher = crewmem.Publisher()
        try:
            publisher.publish(Event(body=MemoryRemembered(content="x"), scope=Scope.of("default", "s")))
        except crewmem.OutboxBroken as error:
            print(error)
    """
    with small_disk(tmp_path / "disk", kilobytes=64, full=True) as home:
        ended = programs.run(code, home=str(home), api_key="am_live_1", base_url="http://127.0.0.1:1", flush_seconds="0.1")
    assert ended.returncode == 0, ended.stderr
    assert "the disk is full" in ended.stdout or "ree some" in ended.stdout, ended.stdout
    assert "Exception ignored" not in ended.stderr and "Traceback" not in ended.stderr
