"""The frame of the command line: settings, errors, exit codes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from crewmem.cli import command_docs, settings_docs
from crewmem.cli.app import app
from crewmem.cli.errors import CheckFailed
from crewmem.cli.exits import exit_code
from crewmem.cli.services import log_to_stderr
from crewmem.cli.sizing import page as size_docs
from crewmem_producers import errors
from crewmem_store.errors import EmbedderMismatch
from typer.main import get_command
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_settings_page_is_what_the_models_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == settings_docs.render(), "run: make docs"


def test_the_page_of_commands_is_what_they_say_themselves() -> None:
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == command_docs.render(get_command(app)), "run: make docs"


def test_the_page_of_sizes_is_what_the_command_computes() -> None:
    assert (ROOT / "docs" / "size.md").read_text("utf-8") == size_docs.render(), "run: make docs"


@pytest.mark.parametrize("page", ["settings", "cli", "size"])
def test_the_pages_are_printed_by_the_program(page: str) -> None:
    assert CliRunner().invoke(app, ["config", "docs", page]).stdout == (ROOT / "docs" / f"{page}.md").read_text("utf-8")


def test_config_show_tells_value_and_origin_and_masks_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crewmem.toml").write_text('session = "from the file"\n')
    (tmp_path / "secret").write_text("am_live_0123\n")
    monkeypatch.setenv("CREWMEM_API_KEY_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("CREWMEM_TOP_K", "3")
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert shown["session"] == {"value": "from the file", "from": str(tmp_path / "crewmem.toml")}
    assert shown["top_k"] == {"value": 3, "from": "CREWMEM_TOP_K"}
    assert shown["port"] == {"value": 8765, "from": "default"}
    assert shown["api_key"] == {"value": "**********", "from": "CREWMEM_API_KEY_FILE"}
    assert "am_live_0123" not in CliRunner().invoke(app, ["config", "show"]).output


def test_the_key_that_up_keeps_is_shown_masked_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api_key").write_text("am_live_0123")
    shown = json.loads(CliRunner().invoke(app, ["config", "show", "--json"]).stdout)
    assert shown["api_key"] == {"value": "**********", "from": str(tmp_path / "home" / "api_key")}


def test_an_unknown_setting_stops_every_command_and_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_BASE_ULR", "http://x")
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == 2
    assert "CREWMEM_BASE_ULR is no setting; did you mean CREWMEM_BASE_URL?" in result.stderr


def test_a_malformed_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_PORT", "eighty")
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == 2
    assert "CREWMEM_PORT" in result.stderr and "eighty" not in result.stderr


@pytest.mark.parametrize("arguments", [["no-such-command"], ["config", "show", "--no-such-option"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckFailed("no"), 1),
        (errors.SettingsError("no"), 2),
        (errors.InvalidName("no"), 2),
        (errors.ServiceUnavailable("no"), 3),
        (errors.LogUnavailable("no"), 3),
        (errors.TokenTimeout("no"), 3),
        (errors.LogRefused("no"), 4),
        (errors.TransportRefused("no"), 4),
        (errors.OutboxFull("no"), 4),
        (errors.missing_extra("all", "lancedb"), 4),
        (EmbedderMismatch("no"), 4),
    ],
)
def test_each_error_has_its_exit_code(error: errors.CrewmemError, code: int) -> None:
    assert exit_code(error) == code


def test_a_part_that_is_not_installed_is_named_with_the_pip_command(tmp_path: Path) -> None:
    (tmp_path / "crewmem-home").mkdir()
    (tmp_path / "crewmem-home" / "log.sqlite3").touch()
    program = """
import json, sys
for name in ("numpy", "lancedb", "fastapi"):
    sys.modules[name] = None
from typer.testing import CliRunner
from crewmem.cli import command_docs, settings_docs
from crewmem.cli.app import app
for command in (["stats"], ["replay"], ["consume"], ["serve"], ["up", "--port", "0"], ["demo"]):
    result = CliRunner().invoke(app, command)
    print(json.dumps([command[0], result.exit_code, result.stderr]))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(told) == 6
    for command, code, complaint in told:
        assert (command, code) == (command, 4), complaint
        assert 'pip install "crewmem[' in complaint and "Traceback" not in complaint


def test_help_of_every_command_loads_nothing_heavy() -> None:
    heavy = {"torch", "lancedb", "fastapi", "faststream", "aiokafka", "crewai", "numpy"}
    program = f"""
import sys
from typer.testing import CliRunner
from crewmem.cli import command_docs, settings_docs
from crewmem.cli.app import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
print(sorted({heavy!r} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_handlers_that_are_there_before_a_command_logs_stay_as_they_are() -> None:
    handlers = {handler: list(handler.filters) for handler in logging.getLogger().handlers}
    log_to_stderr(logging.WARNING)
    assert {handler: handler.filters for handler in logging.getLogger().handlers} == handlers != {}
