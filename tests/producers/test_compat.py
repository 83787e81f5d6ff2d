from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from crewmem_producers import compat, sqlite
from crewmem_producers.compat import UTC, StrEnum, iso_time
from crewmem_producers.errors import PythonTooOld

TIMES = {
    "2026-05-04T10:11:12Z": datetime(2026, 5, 4, 10, 11, 12, tzinfo=UTC),
    "2026-05-04T10:11:12.5Z": datetime(2026, 5, 4, 10, 11, 12, 500_000, tzinfo=UTC),
    "2026-05-04T10:11:12.123456789+00:00": datetime(2026, 5, 4, 10, 11, 12, 123_456, tzinfo=UTC),
    "2026-05-04T10:11:12.123456": datetime(2026, 5, 4, 10, 11, 12, 123_456),
}


class _OldDatetime(datetime):
    """`fromisoformat` as strict as that of Python 3.10: no Z, and 3 or 6 digits of a second."""

    @classmethod
    def fromisoformat(cls, text: str) -> datetime:  # type: ignore[override]
        fraction = text[19:].partition("+")[0]
        if text.endswith("Z") or len(fraction) not in (0, 4, 7):
            raise ValueError(f"Invalid isoformat string: {text!r}")
        return datetime.fromisoformat(text)


@pytest.mark.parametrize("text", TIMES)
@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_a_time_reads_the_same_on_every_python(text: str, version: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    if version < (3, 11):
        monkeypatch.setattr(compat, "sys", SimpleNamespace(version_info=version))
        monkeypatch.setattr(compat, "datetime", _OldDatetime)
    assert iso_time(text) == TIMES[text]


def test_a_text_that_is_not_a_time_is_a_value_error() -> None:
    for text in ("", "Z", "soon", "2026-13-01T00:00:00Z"):
        with pytest.raises(ValueError):
            iso_time(text)


def test_a_name_prints_as_its_value() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert (str(Colour.RED), f"{Colour.RED:>5}", Colour.RED == "red") == ("red", "  red", True)


def test_the_consumer_and_the_service_name_the_python_that_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "sys", SimpleNamespace(version_info=(3, 11, 0)))
    compat.require_server_python("the store")
    monkeypatch.setattr(compat, "sys", SimpleNamespace(version_info=(3, 10, 13), version="3.10.13 (main)"))
    with pytest.raises(PythonTooOld, match=r"the store needs Python 3\.11 or later, and this is 3\.10\.13.*uvx --python"):
        compat.require_server_python("the store")


def errors_of_sqlite(folder: Path) -> dict[int, sqlite3.Error]:
    """One real error of each code that is acted on, as far as a test can cause it."""
    found: dict[int, sqlite3.Error] = {}

    def met(code: int, path: Path, *statements: str) -> None:
        try:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
                for statement in statements:
                    connection.execute(statement)
        except sqlite3.Error as error:
            found[code] = error

    file = folder / "file"
    file.write_bytes(b"no database at all, and long enough to be read as one" * 20)
    met(sqlite.SQLITE_NOTADB, file, "SELECT * FROM sqlite_master")
    met(sqlite.SQLITE_CANTOPEN, folder / "missing" / "file")
    met(sqlite.SQLITE_READONLY, folder / "query_only", "PRAGMA query_only = ON", "CREATE TABLE t (x)")
    fill = "CREATE TABLE t (x)", "PRAGMA max_page_count = 2", "INSERT INTO t VALUES (zeroblob(99999))"
    met(sqlite.SQLITE_FULL, folder / "full", *fill)
    holder = sqlite3.connect(folder / "busy", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    met(sqlite.SQLITE_BUSY, folder / "busy", "CREATE TABLE t (x)")
    holder.close()
    return found


def test_an_error_of_sqlite_has_its_code_on_a_python_that_does_not_tell_it(tmp_path: Path) -> None:
    errors = errors_of_sqlite(tmp_path)
    assert len(errors) == 5
    for code, error in errors.items():
        assert sqlite.error_code(error) == code
        assert sqlite.error_code(type(error)(str(error))) == code  # made without sqlite_errorcode, as 3.10 makes it
    assert sqlite.error_code(sqlite3.OperationalError("no such table: t")) == sqlite.SQLITE_ERROR


def test_this_is_a_python_that_crewmem_supports() -> None:
    assert (3, 10) <= sys.version_info[:2] < (3, 14)
