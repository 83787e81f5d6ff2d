"""Verify: healthy stores close, and each kind of damage is found and named."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import pytest
from crewmem_producers.errors import KeyErased, StoreUnavailable
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.names import Scope
from crewmem_store.accounting import Kind, Step, Verified, verify
from crewmem_store.accounting.verify import ATTEMPTS
from crewmem_store.lance import LanceStore
from crewmem_store.store import Store
from support.cleaned_up import CleanedUp
from support.damage import change_bytes
from support.keyrings import NoKeys, OpensAllBut, plain_keyring
from support.listed_log import ListedLog
from support.pipeline import Pipeline, erase, forget, kickoff, remember

MEMORY, LEDGER = "mem_g1_p00", "led_g1_p00_0"
Damage = Callable[[Any], object]


def history() -> Pipeline:
    """Every outcome, on a log of 16 records: what is stored at 0 to 4 and 12 to 15 is still there."""
    pipeline = Pipeline()
    pipeline.append(
        remember("Globex raised its seat price to 49 dollars.", number=0),
        kickoff("Acme has 120 people in Lyon.", "Its churn is 3 percent a month.", number=1),
        remember("The budget is 10 thousand.", number=2, key="budget"),
        remember("The budget is 12 thousand.", number=3, key="budget"),
        remember("Initech ships in spring.", number=4),
        remember("Globex raised its seat price to 49 dollars.", number=5),
        remember("Initech ships in spring.", number=4),
        Record(key=b"default/none", value=b"{", headers=(("ce_id", b"broken"),)),
        forget(("event-00001", "task/0"), ("event-00013", "content"), number=8),
        remember("Of another project, soon gone.", number=9, session="gone"),
        erase(number=10, session="gone"),
        kickoff("I don't know.", number=11),
        remember("Hooli was founded in 1998.", number=12),
        remember("Forgotten before it came.", number=13),
        remember("Umbrella has 9 offices.", number=14),
        remember("Stark builds 3 towers.", number=15),
    )
    return pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[LoggedRecord], Pipeline]:
    """A store in a folder that was made from the history."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = history()
    store = LanceStore(str(folder))
    store.open(namespace="crewmem")
    pipeline.store = store
    pipeline.run()
    store.close()
    return folder, pipeline.log, pipeline


class Bench:
    """A copy of the store to damage, and the log to damage."""

    def __init__(self, folder: Path, log: list[LoggedRecord], pipeline: Pipeline) -> None:
        self.folder = folder
        self.log = ListedLog(list(log))
        self.pipeline = pipeline

    def table(self, name: str) -> Any:
        return lancedb.connect(self.folder).open_table(name)

    def rows(self, name: str, where: str) -> pa.Table:
        return self.table(name).search().where(where).to_arrow().drop_columns([])

    def store(self) -> Store:
        store = LanceStore(str(self.folder))
        store.open(namespace="crewmem")
        return store

    def verify(self) -> Verified:
        reader = self.store().reader("g1")
        return asyncio.run(verify(self.log, reader, self.pipeline.generation, keyring=plain_keyring()))

    def found(self) -> list[tuple[Kind, int]]:
        return [(misfit.kind, misfit.offset) for misfit in self.verify().misfits]


@pytest.fixture
def bench(made: tuple[Path, list[LoggedRecord], Pipeline], tmp_path: Path) -> Iterator[Bench]:
    folder, log, pipeline = made
    yield Bench(Path(shutil.copytree(folder, tmp_path / "copy")), log, pipeline)


def test_a_healthy_store_closes_and_says_what_was_compared(bench: Bench) -> None:
    verified = bench.verify()
    assert verified.closes, verified.misfits
    [checked] = verified.partitions
    assert (checked.start, checked.end, checked.records, checked.ledger) == (0, 16, 16, 16)
    assert checked.rows == bench.table(MEMORY).count_rows()


# The log and the ledger


def test_a_ledger_row_that_is_gone_is_missing(bench: Bench) -> None:
    bench.table(LEDGER).delete("offset = 4")
    assert (Kind.MISSING, 4) in bench.found()


def test_a_ledger_row_that_is_there_twice_is_doubled(bench: Bench) -> None:
    bench.table(LEDGER).add(bench.rows(LEDGER, "offset = 12"))
    assert bench.found() == [(Kind.DOUBLED, 12)]


def test_a_ledger_row_of_nothing_on_the_log_is_found(bench: Bench) -> None:
    del bench.log.records[14]
    assert bench.found() == [(Kind.NO_RECORD, 14)]


def test_a_log_that_lost_its_tail_is_found(bench: Bench) -> None:
    del bench.log.records[13:]
    assert [place for place in bench.found() if place[0] is Kind.NO_RECORD] == [(Kind.NO_RECORD, n) for n in (13, 14, 15)]


def test_another_record_at_a_position_is_found(bench: Bench) -> None:
    bench.log.records[12] = replace(bench.log.records[12], value=bench.log.records[15].value)
    assert bench.found() == [(Kind.OTHER_RECORD, 12)]


@pytest.mark.parametrize("change", [{"crc": 7}, {"ce_id": "event-99999"}, {"scope_key": "default/other"}, {"type": "other"}])
def test_a_ledger_row_that_was_made_from_another_record_is_found(bench: Bench, change: dict[str, Any]) -> None:
    bench.table(LEDGER).update(where="offset = 15", values=change)
    assert (Kind.OTHER_RECORD, 15) in bench.found()


def test_positions_that_the_log_let_go_before_they_were_processed_are_lost(bench: Bench) -> None:
    bench.log.records = [replace(bench.log.records[0], offset=30)]
    bench.log.starts_at = 30
    assert bench.found()[0] == (Kind.LOST, 16)


def test_what_the_log_let_go_after_it_was_processed_is_said_and_no_misfit(bench: Bench) -> None:
    bench.log.starts_at = 3
    verified = bench.verify()
    assert verified.closes, verified.misfits
    assert (verified.partitions[0].start, verified.partitions[0].before_log) == (3, 3)


def test_a_forget_that_the_log_let_go_explains_what_it_took(bench: Bench) -> None:
    bench.log.starts_at = 12
    verified = bench.verify()
    assert verified.closes, verified.misfits
    assert verified.partitions[0].before_log == 12


def test_a_forget_whose_key_was_erased_explains_what_it_took(bench: Bench) -> None:
    class Erased(Keyring):
        def open(self, record: Any) -> Any:
            if record.header("ce_type") == "crewmem.memory.forgotten":
                raise KeyErased("its session was erased")
            return record

    reader, keyring = bench.store().reader("g1"), Erased(registry=NoKeys())  # type: ignore[arg-type]
    found = asyncio.run(verify(bench.log, reader, bench.pipeline.generation, keyring=keyring))
    assert found.closes, found.misfits


@pytest.mark.parametrize(("forgets", "found"), [(True, []), (False, [(Kind.ROW_UNNAMED, 0)])])
def test_a_row_of_an_owner_that_was_killed_before_its_session_was_erased_is_explained(
    forgets: bool, found: list[tuple[Kind, int]]
) -> None:
    """The next owner cannot open the record; the row is there all the same, and must have lost its text."""

    def die(step: str) -> None:
        if step == "rows_merged":
            raise KeyboardInterrupt

    pipeline = Pipeline(checkpoint=die)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(remember("Of a project, soon gone.", number=0, session="gone"))
    pipeline.checkpoint = lambda step: None
    pipeline.keyring = OpensAllBut(0)
    pipeline.run(*([erase(number=1, session="gone")] if forgets else [remember("Globex has 4 offices.", number=1)]))
    assert [(misfit.kind, misfit.offset) for misfit in verified(pipeline).misfits] == found


def test_offsets_that_the_log_leaves_out_are_no_misfit() -> None:
    pipeline = Pipeline()
    pipeline.append(remember("Globex has 4 offices.", number=0))
    pipeline.append(remember("Initech has 7 offices.", number=1), gap=9_000)
    pipeline.append(remember("Hooli has 11 offices.", number=2), gap=3)
    pipeline.run()
    assert verified(pipeline).closes


def test_an_event_that_was_processed_twice_is_found(bench: Bench) -> None:
    bench.table(LEDGER).update(where="offset = 6", values={"outcome": "dropped", "reason": None})
    assert bench.found()[0] == (Kind.TWICE, 6)


def test_a_repeat_of_nothing_is_found(bench: Bench) -> None:
    bench.table(LEDGER).update(where="offset = 12", values={"outcome": "duplicate", "reason": "repeat"})
    assert (Kind.TWICE, 12) in bench.found()


def test_a_ledger_row_that_contradicts_its_spans_is_found(bench: Bench) -> None:
    bench.table(LEDGER).update(where="offset = 5", values={"outcome": "stored"})
    assert (Kind.CONTRADICTION, 5) in bench.found()


# The ledger and the rows


def test_a_memory_that_is_gone_is_missing(bench: Bench) -> None:
    bench.table(MEMORY).delete('"offset" = 14')
    assert bench.found() == [(Kind.ROW_MISSING, 14)]


def test_a_tombstone_that_is_gone_is_missing(bench: Bench) -> None:
    bench.table(MEMORY).delete('"offset" = 5')
    assert bench.found() == [(Kind.ROW_MISSING, 5)]


def test_the_tombstone_of_a_forget_that_is_gone_is_missing(bench: Bench) -> None:
    bench.table(MEMORY).delete('"offset" = 8')
    assert bench.found() == [(Kind.ROW_MISSING, 13), (Kind.ROW_MISSING, 8)]


def test_the_marker_of_an_erasure_that_is_gone_is_missing(bench: Bench) -> None:
    bench.table(MEMORY).delete('"offset" = 10')
    assert bench.found() == [(Kind.ROW_MISSING, 10)]


def test_the_survivor_of_a_duplicate_that_is_gone_is_missing(bench: Bench) -> None:
    bench.table(MEMORY).delete('"offset" = 0')
    assert bench.found() == [(Kind.ROW_MISSING, 0), (Kind.ROW_MISSING, 5)]


def test_two_rows_of_one_memory_are_doubled(bench: Bench) -> None:
    bench.table(MEMORY).add(bench.rows(MEMORY, '"offset" = 12'))
    assert bench.found() == [(Kind.ROW_DOUBLED, 12)]


def test_a_second_row_of_the_same_event_and_span_is_unnamed(bench: Bench) -> None:
    row = bench.rows(MEMORY, '"offset" = 12')
    planted = row.to_pylist()[0] | {"id": "0-" + "a" * 32, "checksum": None}
    bench.table(MEMORY).add(pa.Table.from_pylist([planted], schema=row.schema))
    assert bench.found() == [(Kind.ROW_UNNAMED, 12)]


@pytest.mark.parametrize("offset", [7, 10, 11, 14])
def test_a_planted_row_is_unnamed(bench: Bench, offset: int) -> None:
    row = bench.rows(MEMORY, '"offset" = 12').to_pylist()[0] | {"offset": offset, "id": "0-" + "b" * 32, "checksum": None}
    bench.table(MEMORY).add(pa.Table.from_pylist([row], schema=bench.table(MEMORY).schema))
    assert bench.found() == [(Kind.ROW_UNNAMED, offset)]


@pytest.mark.parametrize(
    "change", [{"outcome": "dropped"}, {"duplicate_of": "0-" + "c" * 32}, {"event_id": "event-00099"}, {"span": "raw"}]
)
def test_a_row_that_is_not_what_the_ledger_says_is_found(bench: Bench, change: dict[str, Any]) -> None:
    bench.table(MEMORY).update(where='"offset" = 5', values=change)
    assert (Kind.ROW_DIFFERS, 5) in bench.found()


def test_a_memory_that_lost_its_text_is_found(bench: Bench) -> None:
    bench.table(MEMORY).update(where='"offset" = 14', values={"text": None})
    assert bench.found() == [(Kind.TEXT_MISSING, 14), (Kind.DAMAGED, 14)]


def test_a_forgotten_memory_whose_text_is_back_is_found(bench: Bench) -> None:
    bench.table(MEMORY).update(where="\"offset\" = 1 AND span = 'task/0'", values={"text": "Acme has 120 people in Lyon."})
    assert bench.found() == [(Kind.TEXT_BACK, 1)]


def test_an_erased_memory_whose_text_is_back_is_found(bench: Bench) -> None:
    where = '"offset" = 9'
    bench.table(MEMORY).update(where=where, values={"text": "Of another project, soon gone.", "scope": "default/gone"})
    bench.table(MEMORY).delete('"offset" = 10')
    assert bench.found() == [(Kind.ROW_MISSING, 10), (Kind.TEXT_BACK, 9)]


# While it is written


def test_what_is_written_during_the_walk_is_left_to_the_next_one() -> None:
    pipeline = Pipeline()
    numbers = range(5_000)
    pipeline.run(*(remember(f"Fact {n} of subject {n * 7919}.", number=n, session=f"s{n}") for n in numbers))

    def write(step: Step) -> None:
        if step.done < step.total:
            pipeline.run(
                forget(("event-00000", "content"), number=9_000),
                erase(number=9_001, session="s4999"),
                *(remember(f"Later {n}.", number=n, session=f"s{n}") for n in range(9_002, 9_010)),
            )

    found = verified(pipeline, progress=write)
    assert found.closes, found.misfits
    assert found.partitions[0].end == 5_000
    assert verified(pipeline).partitions[0].end == 5_010


def test_a_forget_that_is_being_written_while_the_walk_begins_explains_what_it_took() -> None:
    pipeline = Pipeline()
    pipeline.run(*(remember(f"Fact {n} of subject {n * 7919}.", number=n, session=f"s{n}") for n in range(6)))

    class Busy(ListedLog):
        async def first(self) -> dict[int, int]:
            if len(pipeline.log) == 6:  # the walk knows how far the ledger is, and has read no row yet
                pipeline.run(
                    forget(("event-00002", "content"), number=9, session="s2"), erase(number=10, session="s4"),
                )  # fmt: skip
                self.records = pipeline.log
            return await super().first()

    reader = pipeline.store.reader("g1")
    found = asyncio.run(verify(Busy(list(pipeline.log)), reader, pipeline.generation, keyring=plain_keyring()))
    assert found.closes, found.misfits
    assert found.partitions[0].end == 6
    assert [row.text for row in reader.by_event("event-00002")] == [None]


def test_a_walk_is_begun_again_when_what_it_reads_goes_and_not_for_ever() -> None:
    pipeline = Pipeline()
    pipeline.run(*(remember(f"Fact {n} of subject {n * 7919}.", number=n, session=f"s{n}") for n in range(12)))

    class Shrinking(ListedLog):
        moves = 0

        async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
            if self.moves and offset >= 7:
                self.moves, self.starts_at = self.moves - 1, self.starts_at + 1
            return await super().read(partition, offset, limit=limit)

    def walked(*, moves: int = 0, losses: int = 0) -> Verified:
        log, reader = Shrinking(list(pipeline.log)), CleanedUp(pipeline.store.reader("g1"), losses=losses)
        log.moves = moves
        return asyncio.run(verify(log, reader, pipeline.generation, keyring=plain_keyring()))

    assert [(one.start, one.before_log) for one in walked(moves=ATTEMPTS - 1).partitions] == [(2, 2)]
    assert [one.start for one in walked(moves=ATTEMPTS).partitions] == [ATTEMPTS - 1], "the last walk counts"
    assert walked(losses=ATTEMPTS - 1).closes
    with pytest.raises(StoreUnavailable, match="took it"):
        walked(losses=ATTEMPTS)


def test_a_memory_that_happened_before_its_session_was_forgotten_and_came_later_is_found(bench: Bench) -> None:
    changed = {"created_at": datetime(2026, 1, 1, tzinfo=UTC), "scope": str(Scope("default", "gone"))}
    bench.table(MEMORY).update(where='"offset" = 15', values=changed)
    bench.table(LEDGER).update(where="offset = 15", values={"scope_key": Scope("default", "gone").key})
    assert (Kind.TEXT_BACK, 15) in bench.found()


def verified(pipeline: Pipeline, **options: Any) -> Verified:
    reader = pipeline.store.reader("g1")
    return asyncio.run(verify(ListedLog(pipeline.log), reader, pipeline.generation, keyring=plain_keyring(), **options))


def test_walks_beside_an_owner_that_writes_forgets_and_tidies_up_close(tmp_path: Path) -> None:
    pipeline = Pipeline()
    store = LanceStore(str(tmp_path))
    store.open(namespace="crewmem")
    pipeline.store = store
    pipeline.run()
    written = threading.Event()

    def write() -> None:
        try:
            ingestor = pipeline.ingestor()
            for start in range(0, 180, 30):
                numbers = range(start, start + 27)
                pipeline.append(
                    *(remember(f"Fact {n} of {n * 7919}.", number=n, session=f"s{n % 3}", key=f"k{n % 5}") for n in numbers),
                    forget((f"event-{start + 1:05d}", "content"), number=start + 27, session=f"s{(start + 1) % 3}"),
                    forget((f"event-{start + 31:05d}", "content"), number=start + 28, session=f"s{(start + 31) % 3}"),
                    erase(number=start + 29, session=f"s{start // 30 % 3}"),
                )
                ingestor.process(pipeline.log[start:])
                ingestor.idle()
        finally:
            written.set()

    owner = threading.Thread(target=write)
    owner.start()
    walks = 0
    while not written.is_set() or walks < 2:
        found = asyncio.run(verify(Growing(pipeline.log), store.reader("g1"), pipeline.generation, keyring=plain_keyring()))
        assert found.closes, found.misfits
        walks += 1
    owner.join()
    found = asyncio.run(verify(Growing(pipeline.log), store.reader("g1"), pipeline.generation, keyring=plain_keyring()))
    assert found.closes, found.misfits
    assert found.partitions[0].end == 180


class Growing(ListedLog):
    """The list is appended to by another thread while it is read."""

    def __init__(self, records: list[LoggedRecord]) -> None:
        super().__init__(records, page=100)

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        return list(self.records)[offset : offset + min(limit, self.page)]


def test_a_vector_that_is_not_what_was_written_is_damaged(bench: Bench) -> None:
    [row] = bench.store().reader("g1").by_event("event-00012")
    assert row.vector is not None
    change_bytes(bench.folder / f"{MEMORY}.lance", row.vector.tobytes(), (-row.vector).tobytes())
    assert bench.found() == [(Kind.DAMAGED, 12)]


def test_a_memory_table_that_is_gone_is_damaged(bench: Bench) -> None:
    shutil.rmtree(bench.folder / f"{MEMORY}.lance")
    [misfit] = bench.verify().misfits
    assert misfit.kind is Kind.DAMAGED and "mem_g1_p00 is gone" in misfit.says and "`crewmem replay`" in misfit.says


def test_a_data_file_that_is_gone_is_damaged(bench: Bench) -> None:
    next((bench.folder / f"{MEMORY}.lance" / "data").iterdir()).unlink()
    [misfit] = bench.verify().misfits
    assert misfit.kind is Kind.DAMAGED and "Not found" in misfit.says
