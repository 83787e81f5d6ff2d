"""Backups: added to, cut off anywhere, damaged, and restored with every erasure in force."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crewmem_producers import codec, data_keys, erasing, master_key
from crewmem_producers.errors import KeyErased, StoreUnavailable
from crewmem_producers.events import Event, MemoryRemembered, SessionForgotten
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.names import Scope
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.sealing import Sealer
from crewmem_producers.settings import StoreSettings
from crewmem_store import generations
from crewmem_store.backup import create, manifest, restore, verify
from crewmem_store.backup.deployment import Deployment
from crewmem_store.connect import open_files
from crewmem_store.errors import BackupBroken, BackupRefused
from crewmem_store.files import File, Files

ANN, BOB = Scope.of("acme", "ann"), Scope.of("acme", "bob")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MASTER = master_key.MasterKeys.parse(master_key.generate())


class Killed(Exception):
    """The process ends at a step."""


@dataclass
class Machine:
    """Log, dead letters and registry of one machine, of two partitions, and what seals."""

    log: SqliteLog
    letters: SqliteLog
    registry: SqliteRegistry

    @property
    def deployment(self) -> Deployment:
        return Deployment(log=self.log, letters=self.letters, registry=self.registry, namespace="crewmem")

    async def put(self, *scopes: Scope, plain: bool = False) -> None:
        """A memory of each session, in both partitions, and a dead letter; sealed unless `plain`."""
        keys = data_keys.DataKeyMaker(registry=self.registry, public=lambda: MASTER.current, maker="m", clock=lambda: NOON)
        events = [codec.encode(Event(MemoryRemembered(content="text"), scope, time=NOON)) for scope in scopes]
        records = events if plain else await Sealer(keys=keys).seal(events)
        await self.log.append(records)
        await self.letters.append(records[:1])

    async def back_up(self, files: Files, **options: object) -> manifest.Manifest:
        return await create.create(files, self.deployment, **options)  # type: ignore[arg-type]

    async def restore(self, files: Files, **options: object) -> restore.Restored:
        return await restore.restore(files, self.deployment, **options)  # type: ignore[arg-type]

    async def records(self) -> list[LoggedRecord]:
        letters = [record for n in (0, 1) for record in await self.letters.read(n, 0)]
        return [*await self.log_records(), *letters]

    async def log_records(self) -> list[LoggedRecord]:
        return [record for n in (0, 1) for record in await self.log.read(n, 0)]


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    path = folder / "log.sqlite3"
    log, letters = (SqliteLog(path, topic=topic, partitions=2) for topic in ("events", "letters"))
    opened = Machine(log, letters, SqliteRegistry(path, namespace="crewmem"))
    for part in (opened.log, opened.letters, opened.registry):
        await part.start()
    yield opened
    for part in (opened.log, opened.letters, opened.registry):
        await part.close()


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine(tmp_path / "here") as opened:
        yield opened


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Machine]:
    async with machine(tmp_path / "there") as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "backup"))


def comparable(records: list[LoggedRecord]) -> list[tuple[int, int, int]]:
    return [(record.partition, record.offset, record.crc) for record in records]


def dying(step: str, times: int = 1) -> Callable[[str], None]:
    left = [times]

    def die(reached: str) -> None:
        left[0] -= reached == step
        if reached == step and not left[0]:
            raise Killed

    return die


async def test_a_restored_log_has_every_record_at_its_position_and_the_registry(
    here: Machine, there: Machine, files: Files
) -> None:
    await here.put(ANN, BOB, ANN)
    await here.registry.put("apikey/ab", {"name": "k"})
    await here.registry.put("producer/host", {"depth": 3})
    await here.registry.put("opener/host/1", {"masters": [], "seen_at": NOON.isoformat()})
    assert await generations.claim(here.registry, "g3")
    await here.back_up(files)
    found = verify.verify(files)
    assert (found.problems, found.records) == ([], 4)
    done = await there.restore(files)
    assert (done.records, done.erased) == (4, 0)
    assert comparable(await there.records()) == comparable(await here.records())
    assert there.registry.get("apikey/ab") == {"name": "k"} and there.registry.get("producer/host") is None
    assert there.registry.get("opener/host/1") is None, "who is there is seen by itself"
    assert there.registry.items(generations.CLAIM) == {}, "nobody is about to build it there"
    keyring = Keyring(registry=there.registry, master=lambda: MASTER)
    assert [codec.decode(keyring.open(record)).scope for record in await there.records() if record.key] != []


async def test_a_second_run_adds_only_what_is_new(here: Machine, files: Files) -> None:
    await here.put(ANN, BOB)
    first = await here.back_up(files)
    names = {part.name for part in first.parts if part.name.endswith(".seg")}
    written = {name: files.read(name) for name in names}
    await here.put(ANN)
    second = await here.back_up(files)
    assert {part.name for part in second.parts} > names and verify.verify(files).records == 5
    assert written == {name: files.read(name) for name in names}


@pytest.mark.parametrize("step", create.STEPS)
async def test_a_backup_that_was_cut_off_is_completed_by_the_next_run(here: Machine, files: Files, step: str) -> None:
    await here.put(ANN, BOB)
    await here.back_up(files)
    await here.put(ANN, BOB, BOB)
    with pytest.raises(Killed):
        await here.back_up(files, checkpoint=dying(step))
    assert verify.verify(files).problems == [], "what was there before is still whole"
    await here.back_up(files)
    found = verify.verify(files)
    assert (found.problems, found.records) == ([], 7)
    assert len([file for file in files.listing() if file.name.startswith("registry-")]) == 1


@pytest.mark.parametrize("step", restore.STEPS)
async def test_a_restore_that_was_cut_off_is_completed_by_the_next_run(
    here: Machine, there: Machine, files: Files, step: str
) -> None:
    await here.put(*[ANN, BOB] * 5)
    await here.back_up(files)
    await here.put(*[ANN, BOB] * 5)
    await here.back_up(files)
    with pytest.raises(Killed):
        await there.restore(files, checkpoint=dying(step))
    await there.restore(files)
    assert comparable(await there.records()) == comparable(await here.records())


async def test_what_is_damaged_cut_off_or_missing_is_named(here: Machine, files: Files, tmp_path: Path) -> None:
    await here.put(*[ANN, BOB] * 5)
    made = await here.back_up(files)
    for part in made.parts:
        path = tmp_path / "backup" / part.name
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            assert any(part.name in problem for problem in verify.verify(files).problems)
        path.write_bytes(whole)
    assert verify.verify(files).problems == []


async def test_a_manifest_that_leaves_records_out_is_found(here: Machine, there: Machine, files: Files, tmp_path: Path) -> None:
    for _ in range(3):
        await here.put(ANN)
        await here.back_up(files)
    path = tmp_path / "backup" / manifest.NAME
    value = json.loads(path.read_text())
    partition = max(value["segments"]["events"], key=len)
    del partition[1]
    path.write_text(json.dumps(value))
    assert any("are missing" in problem for problem in verify.verify(files).problems)
    with pytest.raises(BackupBroken, match="missing"):
        await there.restore(files)
    assert await there.records() == [], "nothing of a damaged backup is restored"


@pytest.mark.parametrize("text", ["", "{}", '{"version": 99}', "[]"])
def test_a_folder_that_holds_no_readable_manifest_is_refused(files: Files, text: str) -> None:
    with pytest.raises(BackupBroken):
        verify.verify(files)
    files.write(manifest.NAME, text.encode())
    with pytest.raises(BackupBroken):
        verify.verify(files)


async def test_a_log_that_is_not_empty_or_not_the_same_is_refused(here: Machine, there: Machine, files: Files) -> None:
    await here.put(ANN, BOB)
    await here.back_up(files)
    await there.put(ANN, BOB)
    with pytest.raises(BackupRefused, match="not empty"):
        await there.restore(files)
    with pytest.raises(BackupRefused, match="not the one that was backed up"):
        await there.back_up(files)


async def test_a_log_whose_start_was_deleted_is_refused_with_what_can_still_be_done(
    here: Machine, files: Files, tmp_path: Path
) -> None:
    await here.put(*[ANN, BOB] * 5)
    kept = Files(str(tmp_path / "kept"))
    await here.back_up(kept)
    await here.put(*[ANN, BOB] * 5)
    with sqlite3.connect(tmp_path / "here" / "log.sqlite3") as retention:
        retention.execute('DELETE FROM log_records WHERE "offset" < 7')
    with pytest.raises(BackupRefused, match="no backup can be made of what is left") as nothing_kept:
        await here.back_up(files)
    assert "keep this" not in str(nothing_kept.value) and not files.listing()
    with pytest.raises(BackupRefused, match="holds what is nowhere else: keep this backup"):
        await here.back_up(kept)


async def test_what_was_erased_before_the_backup_stays_erased(here: Machine, there: Machine, files: Files) -> None:
    await here.put(ANN, BOB)
    await here.back_up(files)
    wrapped = [value["wrapped"] for value in data_keys.of_scope(here.registry, ANN.key).values()]
    await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test")
    await here.back_up(files)
    everything = b"".join(files.read(file.name) for file in files.listing())
    assert all(key.encode() not in everything for key in wrapped), "the next backup lets go of the keys"
    await there.restore(files)
    await _only_bob_can_be_read(there)


async def test_a_key_that_the_log_calls_erased_does_not_come_back_with_an_older_registry(
    here: Machine, there: Machine, files: Files, tmp_path: Path
) -> None:
    await here.put(ANN, BOB)
    older = json.dumps(here.registry.items(""), sort_keys=True).encode()
    await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test")
    made = await here.back_up(files)
    assert made.registry is not None
    files.write(made.registry.name, older)
    made.registry = manifest.part_of(made.registry.name, older)
    manifest.save(files, made)
    done = await there.restore(files)
    assert done.erased == 1
    await _only_bob_can_be_read(there)


async def test_what_the_target_erased_after_the_backup_stays_erased(here: Machine, there: Machine, files: Files) -> None:
    await here.put(ANN, BOB)
    await here.back_up(files)
    erased, _, _ = await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test")
    for key, value in here.registry.items("erasure/").items():
        await there.registry.put(key, value)
    await there.restore(files)
    await _only_bob_can_be_read(there)
    ids = [record.header("ce_id") for record in await there.records()]
    assert erased.event_id in ids, "and the log says so again"


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("killed", [None, *erasing.STEPS])
async def test_an_erasure_that_runs_between_the_records_and_the_registry_of_a_backup_holds_where_it_is_restored(
    here: Machine, there: Machine, files: Files, plain: bool, killed: str | None
) -> None:
    """Its `session.forgotten` came too late for the backup's log, and the backup's registry knows of it."""
    await here.put(ANN, BOB, plain=plain)
    refresh = here.registry.refresh

    async def erased_first() -> None:
        here.registry.refresh = refresh  # type: ignore[method-assign]
        with contextlib.suppress(Killed):
            checkpoint = dying(killed) if killed else lambda step: None
            await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test", checkpoint=checkpoint)
        await refresh()

    here.registry.refresh = erased_first  # type: ignore[method-assign]
    await here.back_up(files)
    erasure = erasing.erasure_of(here.registry, ANN.key)
    assert erasure is not None
    await there.restore(files)
    if not plain:
        await _only_bob_can_be_read(there)
    last = [record for record in await there.log_records() if record.key == ANN.key.encode()][-1]
    assert (last.header("ce_type"), last.header("ce_id")) == (SessionForgotten.type, erasure.event_id)
    body = codec.decode(last).body
    assert isinstance(body, SessionForgotten) and {*erasure.keys, erasure.grave} <= set(body.erased_keys)
    assert all(data_keys.is_erased(there.registry.get(data_keys.PREFIX + id) or {}) for id in body.erased_keys)


async def test_an_erasure_that_the_backups_log_names_is_not_written_again(here: Machine, there: Machine, files: Files) -> None:
    await here.put(ANN, BOB)
    erased, _, _ = await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test")
    await here.back_up(files)
    assert verify.verify(files).forgotten == {(ANN.key, erased.event_id)}
    for _ in range(2):
        await there.restore(files)
        assert comparable(await there.records()) == comparable(await here.records())


async def test_of_two_erasures_of_a_session_the_later_one_stays_in_the_registry_and_both_keep_their_keys_erased(
    here: Machine, there: Machine, files: Files
) -> None:
    await here.put(ANN)
    first, _, _ = await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test", clock=lambda: NOON)
    older = here.registry.items("")
    await here.put(ANN)
    later = NOON + timedelta(hours=1)
    second, _, _ = await erasing.erase(ANN.key, log=here.log, registry=here.registry, source="test", clock=lambda: later)
    await here.back_up(files)
    for key, value in older.items():
        await there.registry.put(key, value)
    await there.restore(files)
    assert erasing.erasure_of(there.registry, ANN.key) == second
    assert set(first.keys) < set(second.keys)
    await _only_bob_can_be_read(there)


async def _only_bob_can_be_read(target: Machine) -> None:
    keyring = Keyring(registry=target.registry, master=lambda: MASTER)
    for record in await target.records():
        if record.key == BOB.key.encode():
            assert codec.decode(keyring.open(record)).scope == BOB
        elif record.header("crewmem-key"):
            with pytest.raises(KeyErased):
                keyring.open(record)


def test_the_manifest_is_found_without_listing_what_else_lies_there(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.save(files, manifest.Manifest.fresh(namespace="crewmem", partitions=2))

    def listing(folder: str = "") -> list[File]:
        raise AssertionError("a bucket may hold millions of other objects")

    monkeypatch.setattr(files, "listing", listing)
    found = manifest.load(files)
    assert found is not None and found.partitions == 2


def test_a_place_that_cannot_be_written_or_read_is_unavailable_and_called_the_backup(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    files = open_files(StoreSettings(), str(tmp_path / "file"))
    with pytest.raises(StoreUnavailable, match="the backup failed while writing"):
        files.write("manifest.json", b"{}")
    with pytest.raises(StoreUnavailable, match="the backup failed while reading"):
        open_files(StoreSettings(), str(tmp_path)).read("nothing")
    with pytest.raises(StoreUnavailable, match="the store failed while reading"):
        Files(str(tmp_path)).read("nothing")
