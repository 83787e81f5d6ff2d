"""Which rules a replay takes: those that the log applied last."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from crewmem_consumers.newest_rules import newest_rules
from crewmem_consumers.rules import DEFAULT_RULES
from crewmem_producers.codec import encode
from crewmem_producers.log import Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_store.rows import LedgerRow, Outcome
from support.logged import START, remembered_record
from support.pipeline import apply_rules

A, B = (f"{DEFAULT_RULES}\n# {name}\n" for name in "AB")
LATE, EARLY = START + timedelta(minutes=5), START


def applied(rules: str, time: datetime, *, partition: int = 0) -> Record:
    return encode(replace(apply_rules(rules), time=time), partition=partition)


def noted(rules: str, time: datetime) -> LedgerRow:
    return LedgerRow(
        offset=0, ce_id="e", type="crewmem.rules.applied", scope_key=None, crc=0, created_at=time, outcome=Outcome.APPLIED,
        detail=rules,
    )  # fmt: skip


async def newest(folder: Path, *records: Record, before: dict[int, LedgerRow] | None = None) -> str | None:
    log = SqliteLog(folder / "log.sqlite3", topic="t", partitions=2)
    await log.start()
    try:
        await log.append(records)
        return await newest_rules(log, first=await log.first(), ends=await log.end(), before=before or {})
    finally:
        await log.close()


async def test_without_any_there_are_none(tmp_path: Path) -> None:
    assert await newest(tmp_path, remembered_record(1)) is None


async def test_the_log_says_which_are_the_last_and_no_clock(tmp_path: Path) -> None:
    both = [applied(rules, time, partition=p) for rules, time in ((A, LATE), (B, EARLY)) for p in (0, 1)]
    assert await newest(tmp_path, *both, remembered_record(1)) == B


async def test_what_the_log_has_is_newer_than_what_the_ledger_had_before(tmp_path: Path) -> None:
    before = {0: noted(A, LATE), 1: noted(A, LATE)}
    assert await newest(tmp_path, remembered_record(1), before=before) == A
    both = [applied(B, EARLY, partition=p) for p in (0, 1)]
    assert await newest(tmp_path, *both, before=before) == B


async def test_where_an_apply_was_interrupted_the_later_time_decides(tmp_path: Path) -> None:
    assert await newest(tmp_path, applied(A, EARLY), applied(A, EARLY, partition=1), applied(B, LATE)) == B


@pytest.mark.parametrize("text", ["rules: [", "version: 2\nrules: []\n"])
async def test_what_is_refused_was_never_applied(tmp_path: Path, text: str) -> None:
    assert await newest(tmp_path, applied(A, EARLY), applied(text, LATE)) == A
