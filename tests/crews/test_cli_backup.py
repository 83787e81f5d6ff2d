"""`crewmem backup create | verify | restore`: a machine that is lost is there again, and what was erased is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_producers import master_key
from support.live import KEY, Live, live_service
from support.programs import until
from support.s3 import s3_server, s3_settings
from typer.testing import CliRunner, Result


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a machine whose master key is set."""
    monkeypatch.setenv("CREWMEM_MASTER_KEY", master_key.generate())
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CREWMEM_API_KEY", KEY)
    return tmp_path / "home"


def reached(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_BASE_URL", live.base_url)


def total(session: str) -> int:
    return int(json.loads(crewmem("list", "--session", session, "--json").stdout)["total"])


def lose_and_restore(home: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_service(home) as live:
        reached(live, monkeypatch)
        for session in ("ann", "bob"):
            assert crewmem("remember", f"what {session} said", "-s", session).exit_code == 0
            until(lambda session=session: total(session) == 1, "it is remembered")  # type: ignore[misc]
        assert crewmem("backup", "create", place).exit_code == 0
        crewmem("forget", "--session", "ann", "--erase", "--yes", "--wait", "0")
        made = crewmem("backup", "create", place, "--json")
        assert made.exit_code == 0, made.stderr
    sound = crewmem("backup", "verify", place, "--json")
    assert sound.exit_code == 0 and json.loads(sound.stdout)["problems"] == []
    assert json.loads(sound.stdout)["records"] == json.loads(made.stdout)["records"] > 0

    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "new"))
    again = crewmem("backup", "restore", place)
    assert again.exit_code == 0, again.stderr
    assert "next:" in again.stderr
    with live_service(tmp_path / "new") as live:
        reached(live, monkeypatch)
        until(lambda: total("bob") == 1, "the memory is computed again")
        assert total("ann") == 0


def test_a_lost_machine_is_restored_without_what_was_erased(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_and_restore(machine, str(tmp_path / "backup"), tmp_path, monkeypatch)
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert files and all((path.stat().st_mode & 0o077) == 0 for path in files), "what people said is for its owner only"


@pytest.mark.s3
def test_the_same_with_a_backup_on_s3(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "s3") as endpoint:
        settings = s3_settings(endpoint, "backups")
        for name in ("s3_endpoint", "s3_access_key", "s3_secret_key", "s3_region"):
            if (value := settings.get(name)) is not None:
                monkeypatch.setenv(f"CREWMEM_{name.upper()}", str(value))
        lose_and_restore(machine, str(settings["store"]), tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["verify", "{}/nothing"], 4, "no backup here"),
        (["restore", "{}/nothing"], 4, "no backup here"),
        (["create", "ftp://host/x"], 2, "s3://bucket/prefix"),
        (["create", "{}/b"], 2, "no event log"),
    ],
)
def test_what_cannot_be_done_is_said(machine: Path, tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    done = crewmem("backup", *(argument.format(tmp_path) for argument in arguments))
    assert (done.exit_code, says in done.stderr) == (code, True), done.stderr


def test_a_damaged_backup_is_exit_code_1(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with live_service(machine) as live:
        reached(live, monkeypatch)
        assert crewmem("backup", "create", str(tmp_path / "b")).exit_code == 0
    segment = next((tmp_path / "b" / "events").rglob("*.seg"))
    segment.write_bytes(segment.read_bytes()[:-3])
    found = crewmem("backup", "verify", str(tmp_path / "b"))
    assert found.exit_code == 1 and segment.name in found.stderr
