"""Where the `up` of this machine listens, as a crew finds out."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewmem_producers import local_service
from crewmem_producers.destination import outbox_path
from crewmem_producers.settings import CrewSettings, load
from filelock import FileLock

URL = "http://127.0.0.1:9000"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path))
    monkeypatch.delenv("CREWMEM_BASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def running(home: Path) -> Iterator[Path]:
    """The home of an `up` that listens on port 9000."""
    with FileLock(home / local_service.LOCK_NAME):
        (home / "api_key").write_text("am_live_1\n")
        local_service.write(home, URL)
        yield home


def test_a_crew_finds_the_address_and_the_key_of_the_up_that_runs(running: Path) -> None:
    settings = load(CrewSettings)
    assert (settings.service_url(), settings.resolved_api_key()) == (URL, "am_live_1")
    assert stat.S_IMODE((running / local_service.NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("way", ["argument", "environment", "crewmem.toml"])
def test_an_address_that_is_set_comes_before_it(way: str, running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(running)
    if way == "crewmem.toml":
        (running / "crewmem.toml").write_text('base_url = "https://memory.example.com"')
    if way == "environment":
        monkeypatch.setenv("CREWMEM_BASE_URL", "https://memory.example.com")
    settings = load(CrewSettings, base_url="https://memory.example.com" if way == "argument" else None)
    assert settings.service_url() == "https://memory.example.com"
    assert settings.resolved_api_key() is None  # the key of `up` goes to no other address


def test_an_up_that_was_killed_is_not_taken_for_one_that_runs(home: Path) -> None:
    code = (
        "import os; from pathlib import Path; from filelock import FileLock; from crewmem_producers import local_service\n"
        f"home = Path({str(home)!r}); lock = FileLock(home / local_service.LOCK_NAME); lock.acquire()\n"
        f"local_service.write(home, {URL!r})\n"
        "assert local_service.address(home) == 'http://127.0.0.1:9000'; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert (home / local_service.NAME).is_file()
    assert load(CrewSettings).service_url() == "http://127.0.0.1:8765"


def test_looking_leaves_the_lock_free_for_the_next_up(home: Path) -> None:
    (home / local_service.LOCK_NAME).touch()
    local_service.write(home, URL)
    assert local_service.address(home) is None
    with FileLock(home / local_service.LOCK_NAME, timeout=0):
        assert local_service.address(home) == URL
    local_service.remove(home)
    assert local_service.address(home) is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "null", '{"url": "http://127.0.0.1:1"}', '{"url": "x", "host": "other-machine"}']
)
def test_a_note_that_cannot_be_read_or_is_of_another_machine_counts_as_none(content: str, running: Path) -> None:
    (running / local_service.NAME).write_text(content)
    assert load(CrewSettings).service_url() == "http://127.0.0.1:8765"


def test_the_outbox_is_the_same_whatever_port_up_has(running: Path) -> None:
    before = outbox_path(load(CrewSettings))
    local_service.write(running, "http://127.0.0.1:9001")
    assert outbox_path(load(CrewSettings)) == before
    local_service.remove(running)
    assert outbox_path(load(CrewSettings)) == before
