"""A file that is written durably: whole or not at all."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crewmem_store.fsync import fsync, write_durably


def test_a_file_that_is_there_is_replaced_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(b"before")
    left = path.with_name("note.json.abc.new")
    left.write_bytes(b"what a killed process left")
    os.utime(left, (0, 0))
    write_durably(path, b"after")
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["note.json"]


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(b"before")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, b"after")
    assert [found.read_bytes() for found in tmp_path.iterdir()] == [b"before"]


def test_a_draft_that_another_writer_has_in_hand_stays(tmp_path: Path) -> None:
    draft = tmp_path / "note.json.abc.new"
    draft.write_bytes(b"not whole yet")
    write_durably(tmp_path / "note.json", b"after")
    assert draft.read_bytes() == b"not whole yet"


def test_writers_at_once_do_not_tear_each_others_file(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    contents = [bytes([65 + number]) * 20_000 for number in range(4)]

    def writing(data: bytes) -> None:
        for _ in range(40):
            write_durably(path, data)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(writing, contents))


def test_a_file_that_a_clean_up_took_needs_no_fsync(tmp_path: Path) -> None:
    fsync(tmp_path / "gone")
