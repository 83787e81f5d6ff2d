"""What `crewmem up` holds while it runs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from crewmem.cli.errors import AddressInUse, HomeInUse
from crewmem.cli.home import bind, hold_home, keep, kept_key
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import API_KEY_NAME


def test_a_home_is_held_by_one_and_free_again_afterwards(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    with hold_home(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        with pytest.raises(HomeInUse, match=r"process \d+.*--home"), hold_home(home):
            pass
    with hold_home(home):
        pass


def test_a_home_that_is_a_file_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(SettingsError, match="CREWMEM_HOME"), hold_home(tmp_path / "home"):
        pass


def test_an_address_in_use_names_the_remedy() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"--port {port + 1}"):
            bind("127.0.0.1", port)


def test_a_host_that_is_none_of_ours_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="CREWMEM_HOST"):
        bind("203.0.113.7", 0)


def test_the_key_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    assert kept_key(tmp_path) is None
    keep(tmp_path, API_KEY_NAME, "am_live_1")
    keep(tmp_path, API_KEY_NAME, "am_live_2")
    assert kept_key(tmp_path) == "am_live_2"
    assert stat.S_IMODE((tmp_path / "api_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["api_key"]


def test_what_is_written_in_an_open_folder_is_its_owners_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with hold_home(tmp_path):
        (tmp_path / "log").write_text("what a crew said")
    (tmp_path / "afterwards").write_text("")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "afterwards").stat().st_mode) != 0o600
