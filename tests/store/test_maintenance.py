"""When a partition's owner compacts, cleans up and forgets for good; the clock is the test's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from crewmem_producers.errors import StoreUnavailable
from crewmem_store import maintenance
from crewmem_store.lance import LanceStore
from crewmem_store.maintenance import COMMITS, FORGET_SECONDS, KEEP_VERSIONS, REST, Maintenance
from crewmem_store.updates import Forget
from store.store_rows import ALICE, GEN, PARTITION, entry, memory, owner, put


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Table:
    """A table that counts what is done to it; compacting takes `seconds`."""

    name = "mem_g1_p07"

    def __init__(self, clock: Clock, *, seconds: float = 0.0) -> None:
        self.commits_since_optimised, self.version = 0, 1
        self.compacted, self.cleaned, self.fails = 0, [], False
        self._clock, self._seconds = clock, seconds

    def compact(self) -> None:
        if self.fails:
            raise StoreUnavailable("in the way")
        self._clock.now += self._seconds
        self.compacted += 1
        self.commits_since_optimised = 0

    def clean_up(self, older_than: timedelta) -> None:
        self.cleaned.append(older_than)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock: Clock) -> Maintenance:
    return Maintenance(clock=clock)


def test_a_table_is_compacted_after_so_many_commits(work: Maintenance, clock: Clock) -> None:
    table = Table(clock)
    table.commits_since_optimised = COMMITS - 1
    assert not work.is_due(table)  # type: ignore[arg-type]
    table.commits_since_optimised += 1
    assert work.is_due(table)  # type: ignore[arg-type]


def test_a_table_that_took_long_rests_nine_times_as_long(work: Maintenance, clock: Clock) -> None:
    table = Table(clock, seconds=4)
    work.compact(table)  # type: ignore[arg-type]
    table.commits_since_optimised = COMMITS
    clock.now = 4 + REST * 4 - 1
    assert not work.is_due(table)  # type: ignore[arg-type]
    clock.now += 1
    assert work.is_due(table)  # type: ignore[arg-type]


def test_old_versions_go_when_no_reader_can_be_at_them_and_again_after_the_last_compaction(
    work: Maintenance, clock: Clock
) -> None:
    table, keep = Table(clock), KEEP_VERSIONS.total_seconds()
    work.compact(table)  # type: ignore[arg-type]
    clock.now = keep - 1
    assert not work.has_old_versions(table)  # type: ignore[arg-type]
    work.compact(table)  # type: ignore[arg-type]
    clock.now = keep
    assert work.has_old_versions(table)  # type: ignore[arg-type]
    work.clean_up(table)  # type: ignore[arg-type]
    assert not work.has_old_versions(table)  # type: ignore[arg-type]
    clock.now = 2 * keep - 1
    work.clean_up(table)  # type: ignore[arg-type]
    assert table.cleaned == [KEEP_VERSIONS] * 2
    clock.now = 9 * keep
    assert not work.has_old_versions(table)  # type: ignore[arg-type]


def test_what_was_forgotten_is_compacted_away_within_a_minute(work: Maintenance, clock: Clock) -> None:
    table = Table(clock)
    work.forgot()
    clock.now = FORGET_SECONDS
    assert work.is_due(table, holds_text=True)  # type: ignore[arg-type]
    assert not work.is_due(table)  # type: ignore[arg-type]
    work.compact(table, holds_text=True)  # type: ignore[arg-type]
    clock.now = 10 * FORGET_SECONDS
    assert not work.is_due(table, holds_text=True)  # type: ignore[arg-type]


def test_a_compaction_that_fails_is_said_and_tried_again_later(
    work: Maintenance, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(clock)
    table.fails = True
    table.commits_since_optimised = COMMITS
    work.forgot()
    work.compact(table, holds_text=True)  # type: ignore[arg-type]
    assert "mem_g1_p07 was not optimised" in caplog.text
    assert not work.is_due(table)  # type: ignore[arg-type]
    clock.now = FORGET_SECONDS
    assert work.is_due(table, holds_text=True)  # type: ignore[arg-type]


def test_steady_small_writes_leave_few_files(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "COMMITS", 8)
    store = LanceStore(str(tmp_path / "store"), clock=clock)
    store.open(namespace="crewmem")
    part = owner(store)
    for n in range(40):
        put(part, memory(n), ledger=[entry(n)])
        part.maintain()
        clock.now += 60
    folder = tmp_path / "store" / "mem_g1_p07.lance"
    table = store._database.table("mem_g1_p07")
    assert table is not None
    assert table.stats()["fragment_stats"]["num_fragments"] <= 10
    assert len(list((folder / "data").iterdir())) <= 60
    assert len(store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows) == 40


@pytest.mark.filterwarnings("ignore:optimize.cleanup_older_than=0")
def test_the_bytes_of_what_was_forgotten_leave_the_disk(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are kept for no time here: the files' own times are the machine's."""
    monkeypatch.setattr(maintenance, "KEEP_VERSIONS", timedelta(0))
    store = LanceStore(str(tmp_path / "store"), clock=clock)
    store.open(namespace="crewmem")
    part = owner(store)
    secret = "the-password-is-swordfish"
    rows = [memory(n, text=f"{secret} {n}" if n == 3 else f"harmless {n}", content="c", source_hash=None) for n in range(6)]
    put(part, *rows)
    assert _holds(tmp_path, secret)
    put(part, updates=[Forget((rows[3].id,))])
    clock.now += FORGET_SECONDS
    for _ in range(3):
        part.maintain()
        clock.now += FORGET_SECONDS
    assert not _holds(tmp_path, secret)
    assert len(store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows) == 5


def _holds(folder: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
