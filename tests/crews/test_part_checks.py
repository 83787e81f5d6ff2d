"""What `crewmem doctor` says of the parts behind it, on a home that has memories."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lancedb
import numpy as np
import pytest
from crewmem.cli.app import app
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import EmbedderUnavailable
from support.damage import change_bytes
from typer.testing import CliRunner


def found(name: str) -> tuple[str, str]:
    findings = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    [one] = [finding for finding in findings if finding["name"] == name]
    return one["state"], one["said"]


def only_hashing(name: str, *, threads: int | None) -> Embedder:
    if name != "hashing":
        raise EmbedderUnavailable(f"there is no {name} here")
    return HashingEmbedder()


def test_doctor_looks_at_the_model_of_the_generation_that_answers_whatever_the_setting_names(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_store.embedders.open_embedder", only_hashing)
    monkeypatch.setenv("CREWMEM_EMBEDDER", "all-MiniLM-L6-v2")
    assert found("embedder") == ("ok", "hashing, 384 dimensions, the model of g1")


def test_doctor_tells_of_a_model_that_is_not_the_one_that_the_generation_was_written_with(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_store.embedders.open_embedder", lambda name, *, threads: HashingEmbedder(window_tokens=100))
    state, said = found("embedder")
    assert state == "fail" and "g1 was written with" in said and "crewmem replay --embedder" in said


def test_doctor_looks_at_the_model_of_the_setting_where_there_is_no_generation_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_store.embedders.open_embedder", only_hashing)
    home = tmp_path / "new"
    home.mkdir()
    (home / "log.sqlite3").touch()
    monkeypatch.setenv("CREWMEM_HOME", str(home))
    monkeypatch.setenv("CREWMEM_EMBEDDER", "another")
    assert found("embedder") == ("fail", "there is no another here")
    monkeypatch.setenv("CREWMEM_EMBEDDER", "hashing")
    assert found("embedder") == ("ok", "hashing, 384 dimensions")


def test_doctor_reads_the_memories_and_finds_them_whole(home: Path) -> None:
    state, said = found("memory")
    assert state == "ok" and said.endswith("read, each is what was written")


def test_doctor_tells_of_a_memory_table_that_is_gone(home: Path) -> None:
    [table] = (home / "store").glob("mem_g1_p*.lance")
    shutil.rmtree(table)
    state, said = found("memory")
    assert state == "fail" and f"{table.stem} is gone" in said


def test_doctor_tells_of_a_vector_that_is_not_what_was_written(home: Path) -> None:
    [table] = (home / "store").glob("mem_g1_p*.lance")
    vectors = lancedb.connect(home / "store").open_table(table.stem).to_arrow().column("vector").drop_null()
    before = np.asarray(vectors[0].as_py(), dtype=np.float32).tobytes()
    change_bytes(table, before, bytes(len(before)))
    state, said = found("memory")
    assert state == "fail" and said == "partition 0: rows that are not what was written: 1"
