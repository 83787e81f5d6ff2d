"""`crewmem accounting`: what it prints, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lancedb
import pytest
from crewmem.cli.app import app
from typer.testing import CliRunner, Result


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def ledger(home: Path) -> Any:
    [name] = [name for name in lancedb.connect(home / "store").list_tables().tables if name.startswith("led_g1_p00_0")]
    return lancedb.connect(home / "store").open_table(name)


@pytest.mark.usefixtures("home")
def test_an_account_that_closes_is_said_to_and_what_waits_is_no_error() -> None:
    done = crewmem("accounting")
    assert done.exit_code == 0, done.output
    assert "generation g1: the sum closes" in done.stdout and "1 dead_letter" in done.stdout
    assert "1 records still wait" in done.stderr and "1 dead letters are open" in done.stderr


@pytest.mark.usefixtures("home")
def test_a_walk_says_what_was_compared() -> None:
    done = crewmem("accounting", "--verify")
    assert done.exit_code == 0, done.output
    assert "generation g1: everything fits" in done.stdout and "compared 5 records" in done.stdout


@pytest.mark.usefixtures("home")
def test_a_script_gets_json() -> None:
    [account] = json.loads(crewmem("accounting", "--verify", "--json").stdout)
    assert (account["generation"], account["closes"], account["verified"]["closes"]) == ("g1", True, True)
    [partition] = account["partitions"]
    assert (partition["processed"], partition["lag"], partition["missing"]) == (5, 1, 0)


def test_a_missing_outcome_ends_with_1_and_is_named_by_a_walk(home: Path) -> None:
    ledger(home).delete("offset = 2")
    done = crewmem("accounting")
    assert done.exit_code == 1 and "1 missing" in done.stdout and "does not close" in done.stderr
    assert "missing at 0/2, event event-00002" in crewmem("accounting", "--verify").stdout


def test_a_doubled_outcome_ends_with_1(home: Path) -> None:
    table = ledger(home)
    table.add(table.search().where("offset = 3").to_arrow())
    done = crewmem("accounting", "--json")
    assert done.exit_code == 1 and json.loads(done.stdout)[0]["partitions"][0]["doubled"] == 1


def test_what_only_a_walk_sees_ends_a_walk_with_1(home: Path) -> None:
    lancedb.connect(home / "store").open_table("mem_g1_p00").delete('"offset" = 1')
    assert crewmem("accounting").exit_code == 0
    done = crewmem("accounting", "--verify", "--generation", "g1")
    assert done.exit_code == 1 and "row_missing at 0/1" in done.stdout


@pytest.mark.usefixtures("home")
def test_an_unknown_generation_is_refused() -> None:
    done = crewmem("accounting", "--generation", "g7")
    assert done.exit_code not in (0, 1) and "g7" in done.stderr


def test_where_there_is_no_log_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "none"))
    assert crewmem("accounting").exit_code == 2
    assert not (tmp_path / "none").exists()
