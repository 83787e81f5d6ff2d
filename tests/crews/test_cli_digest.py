"""`crewmem digest`: what it prints, and what it ends with."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_producers.connect import open_registry
from crewmem_producers.settings import StoreSettings, load
from crewmem_store import generations
from crewmem_store.digest import digest
from crewmem_store.lance import LanceStore
from support.kafka import free_port
from typer.testing import CliRunner, Result


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["digest", *arguments])


def expected(home: Path) -> str:
    store = LanceStore(str(home / "store"))
    store.open(namespace="crewmem")
    return digest(store.reader("g1"), partitions=1).hex


def test_it_prints_the_digest_alone_on_its_line_and_says_beside_it_of_what(home: Path) -> None:
    done = crewmem()
    assert (done.exit_code, done.stdout) == (0, f"{expected(home)}\n"), done.output
    assert "2 memories of g1" in done.stderr


def test_a_script_gets_json(home: Path) -> None:
    assert json.loads(crewmem("--json").stdout) == {"generation": "g1", "digest": expected(home), "rows": 2}


def test_what_is_expected_and_found_ends_with_0_however_it_is_written(home: Path) -> None:
    assert crewmem("--expect", f" {expected(home).upper()} ").exit_code == 0


@pytest.mark.usefixtures("home")
def test_what_is_not_as_expected_ends_with_1_and_is_printed_all_the_same() -> None:
    done = crewmem("--expect", "0" * 64, "--json")
    assert done.exit_code == 1 and json.loads(done.stdout)["rows"] == 2
    assert f"not {'0' * 64}" in done.stderr and "Traceback" not in done.stderr


def test_another_generation_has_its_own(home: Path) -> None:
    async def save_second() -> None:
        registry = open_registry(load(StoreSettings))
        await registry.start()
        await generations.save(registry, replace(generations.active(registry), name="g2"))
        await registry.close()

    asyncio.run(save_second())
    empty = json.loads(crewmem("--generation", "g2", "--json").stdout)
    assert (empty["generation"], empty["rows"]) == ("g2", 0) and empty["digest"] != expected(home)
    assert json.loads(crewmem("--generation", "g1", "--json").stdout)["digest"] == expected(home)


@pytest.mark.usefixtures("home")
def test_a_generation_that_does_not_live_is_refused_with_the_way_to_find_one() -> None:
    done = crewmem("--generation", "g7")
    assert done.exit_code == 4 and "crewmem generations list" in done.stderr


def test_what_does_not_answer_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("CREWMEM_KAFKA_WAIT_SECONDS", "0")
    done = crewmem()
    assert done.exit_code == 3 and done.stderr.startswith("crewmem: ") and not done.stdout
