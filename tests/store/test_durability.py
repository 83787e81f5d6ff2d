"""Power loss: what is fsynced, in which order, and what an owner finds after another boot."""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from crewmem_producers.errors import StoreUnavailable
from crewmem_store import lance, maintenance, rewind
from crewmem_store.durability import boot_id
from crewmem_store.lance import LanceStore
from crewmem_store.lance_database import Database
from filelock import FileLock
from store.store_rows import ALICE, GEN, PARTITION, entry, memory, owner, put


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def opened(folder: Path, *, boot: str = "boot-1", clock: Clock | None = None) -> LanceStore:
    store = LanceStore(str(folder), boot=lambda: boot, clock=clock or Clock())
    store.open(namespace="crewmem")
    return store


def noted(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "notes" / "g1_p07.json").read_text()))


def offsets(store: LanceStore) -> list[int]:
    return [row.offset for row in store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows]


def write(store: LanceStore, part: object, *numbers: int) -> None:
    put(part, *(memory(n) for n in numbers), ledger=[entry(n) for n in numbers])  # type: ignore[arg-type]


def newest_manifest(folder: Path, name: str) -> Path:
    return min((folder / f"{name}.lance" / "_versions").glob("*.manifest"))


def tear(folder: Path, name: str, *, newest: int | None = None) -> None:
    """Leaves nothing in the manifests of a table, or in so many of them; Lance counts down, so that the newest come first."""
    for path in sorted((folder / f"{name}.lance" / "_versions").glob("*.manifest"))[:newest]:
        path.write_bytes(b"")


def test_the_boot_id_of_this_machine_is_always_the_same() -> None:
    assert boot_id()
    assert boot_id() == boot_id()


def test_what_was_written_is_made_durable_once_a_second_at_most(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    assert noted(folder)["position"] == -1
    write(store, part, 0)
    part.maintain()
    assert noted(folder)["position"] == -1
    clock.now += 1
    part.maintain()
    tables = noted(folder)["tables"]
    assert isinstance(tables, dict)
    assert set(tables) == {"mem_g1_p07", "led_g1_p07_0", "led_g1_p07_closed"}
    assert noted(folder)["boot"] == "boot-1"
    assert noted(folder)["position"] == 0


def test_closing_makes_the_rest_durable(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0, 1)
    part.close()
    assert noted(folder)["position"] == 1


def test_memory_is_on_disk_before_the_ledger_and_the_note_comes_last(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    synced: list[str] = []

    def noting(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))

    monkeypatch.setattr(os, "fsync", noting)
    write(store, part, 0)
    clock.now += 1
    part.maintain()
    tables = [path.split("/store/")[1].split("/")[0] for path in synced if ".lance/" in path]
    assert tables == sorted(tables, key=["mem_g1_p07.lance", "led_g1_p07_closed.lance", "led_g1_p07_0.lance"].index)
    assert {"mem_g1_p07.lance", "led_g1_p07_0.lance"} <= set(tables)
    assert re.fullmatch(r".*/notes/g1_p07\.json\.\w+\.new", synced[-2])
    for kind in ("_versions", "data"):
        files = [path for path in synced if f"mem_g1_p07.lance/{kind}/" in path]
        assert files
        assert f"{folder!s}/mem_g1_p07.lance/{kind}" in synced, "the folder's own entry"
    synced.clear()
    clock.now += 1
    part.maintain()
    assert synced == [], "nothing was written, nothing is synced"


def test_after_another_boot_the_owner_goes_back_to_the_note(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0, 1)
    clock.now += 1
    part.maintain()
    write(store, part, 2, 3)
    again = opened(folder, boot="boot-2")
    part = owner(again)
    last = part.last()
    assert last is not None
    assert last.offset == 1
    assert offsets(again) == [0, 1]
    write(again, part, 2, 3)
    assert offsets(again) == [0, 1, 2, 3]
    assert noted(folder)["boot"] == "boot-2"


def test_going_back_leaves_alone_a_partition_whose_number_begins_alike(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    ten, hundred = owner(store, 10), owner(store, 100)
    put(ten, memory(0), ledger=[entry(0)])
    put(hundred, memory(0), ledger=[entry(0)])
    ten.close()
    hundred.close()
    again = opened(folder, boot="boot-2")
    owner(again, 10)
    assert [row.offset for row in again.reader(GEN).rows({ALICE}, partitions={100}).rows] == [0]


def test_in_the_same_boot_nothing_is_undone(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    write(store, owner(store), 0, 1)
    assert noted(folder)["position"] == -1
    again = opened(folder)
    assert owner(again).last() == entry(1)
    assert offsets(again) == [0, 1]


def test_a_ledger_table_that_was_made_after_the_note_goes(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    clock.now += 1
    part.maintain()
    write(store, part, 262_144)
    assert (folder / "led_g1_p07_1.lance").is_dir()
    again = opened(folder, boot="boot-2")
    last = owner(again).last()
    assert last is not None
    assert last.offset == 0
    assert not (folder / "led_g1_p07_1.lance").is_dir()


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
@pytest.mark.parametrize("tear", ["empty", "zeros", "half"])
@pytest.mark.parametrize("name", ["mem_g1_p07", "led_g1_p07_0"])
def test_a_table_with_a_torn_manifest_opens_at_the_version_before(
    folder: Path, clock: Clock, name: str, tear: str, boot: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    clock.now += 1
    part.maintain()
    write(store, part, 1)
    manifest = newest_manifest(folder, name)
    whole = manifest.read_bytes()
    manifest.write_bytes({"empty": b"", "zeros": bytes(len(whole)), "half": whole[: len(whole) // 2]}[tear])
    again = opened(folder, boot=boot)
    part = owner(again)
    last = part.last()
    assert last is not None
    assert last.offset == 0
    assert f"{name} does not open" in caplog.text
    write(again, part, 1)
    assert offsets(again) == [0, 1]
    assert part.last() == entry(1)


@pytest.mark.filterwarnings("ignore:optimize.cleanup_older_than=0")
@pytest.mark.parametrize("torn", ["empty", "zeros", "half"])
@pytest.mark.parametrize("name", ["mem_g1_p07", "led_g1_p07_0"])
def test_a_torn_manifest_between_whole_ones_is_set_aside_when_going_back(
    folder: Path, clock: Clock, name: str, torn: str
) -> None:
    """The disk had the newest version already, and not the ones before it."""
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    part.close()
    for n in range(1, 4):
        write(store, part, n)
    manifests = sorted((folder / f"{name}.lance" / "_versions").glob("*.manifest"))  # Lance counts down
    for manifest in manifests[1:3]:
        whole = manifest.read_bytes()
        manifest.write_bytes({"empty": b"", "zeros": bytes(len(whole)), "half": whole[: len(whole) // 2]}[torn])
    again = opened(folder, boot="boot-2")
    part = owner(again)
    assert part.last() == entry(0)
    write(again, part, 1, 2, 3)
    assert offsets(again) == [0, 1, 2, 3]
    again._database.table(name).optimize(cleanup_older_than=timedelta(0))  # type: ignore[union-attr]
    assert offsets(opened(folder, boot="boot-2")) == [0, 1, 2, 3]


def test_torn_rows_after_the_note_are_written_again(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    clock.now += 1
    part.maintain()
    before = set((folder / "mem_g1_p07.lance" / "data").iterdir())
    write(store, part, 1)
    for path in set((folder / "mem_g1_p07.lance" / "data").iterdir()) - before:
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(StoreUnavailable):
        offsets(opened(folder))
    again = opened(folder, boot="boot-2")
    part = owner(again)
    write(again, part, 1)
    assert offsets(again) == [0, 1]


def test_a_table_of_which_nothing_can_be_read_is_made_anew(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    write(store, owner(store), 0)
    tear(folder, "led_g1_p07_0")
    again = opened(folder, boot="boot-2")
    part = owner(again)
    assert part.last() is None
    write(again, part, 0)
    assert part.last() == entry(0)


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_a_ledger_goes_with_the_memory_table_of_which_nothing_can_be_read(folder: Path, clock: Clock, boot: str) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    part.close()
    tear(folder, "mem_g1_p07")
    again = opened(folder, boot=boot)
    part = owner(again)
    assert part.last() is None, "it is all computed again"
    write(again, part, 0)
    assert offsets(again) == [0]


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_a_ledger_of_which_an_older_table_cannot_be_read_is_computed_again_without_a_gap(
    folder: Path, clock: Clock, boot: str
) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0, 1)
    write(store, part, 262_144)
    part.close()
    tear(folder, "led_g1_p07_0")
    again = opened(folder, boot=boot)
    part = owner(again)
    assert part.last() is None, "the newer table would hide that positions 0 and 1 are missing"
    write(again, part, 0, 1, 262_144)
    assert offsets(again) == [0, 1, 262_144]
    assert again.reader(GEN).outcomes(PARTITION) == {"stored": 3}


def test_a_ledger_never_stays_ahead_of_rows_that_were_lost_although_they_were_on_disk(folder: Path, clock: Clock) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    for number in range(3):
        write(store, part, number)
    part.close()
    tear(folder, "mem_g1_p07", newest=2)
    again = opened(folder, boot="boot-2")
    part = owner(again)
    assert part.last() is None
    write(again, part, 0, 1, 2)
    assert offsets(again) == [0, 1, 2]


def test_a_table_that_cannot_be_read_for_another_reason_is_left_as_it_is(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    part.close()

    def refused(*arguments: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "table", lambda *arguments: unavailable())
        patch.setattr(Path, "read_bytes", refused)
        with pytest.raises(StoreUnavailable, match="Too many open files"):
            owner(store)
    assert owner(opened(folder)).last() == entry(0)
    assert offsets(opened(folder)) == [0]


def unavailable() -> None:
    raise StoreUnavailable("no file descriptor left")


@pytest.mark.filterwarnings("ignore:optimize.cleanup_older_than=0")
def test_the_version_that_the_note_names_outlives_every_clean_up(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clean-ups here remove whatever is not the newest, at once."""
    monkeypatch.setattr(maintenance, "COMMITS", 3)
    monkeypatch.setattr(maintenance, "KEEP_VERSIONS", timedelta(0))
    store = opened(folder, clock=clock)
    part = owner(store)
    for n in range(12):
        write(store, part, n)
        part.maintain()
        clock.now += 0.3
        position = noted(folder)["position"]
        assert isinstance(position, int)
        again = LanceStore(str(folder))._database
        for name, version in dict(noted(folder)["tables"]).items():  # type: ignore[call-overload]
            assert version in {item["version"] for item in again.table(name).list_versions()}  # type: ignore[union-attr]


def test_a_disk_that_refuses_is_unavailable(folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(folder, clock=clock)
    part = owner(store)
    write(store, part, 0)
    clock.now += 1

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space left") as caught:
        part.maintain()
    assert isinstance(caught.value.__cause__, OSError)
    monkeypatch.undo()
    part.maintain()
    assert noted(folder)["position"] == 0


def test_while_an_owner_takes_a_partition_back_the_next_one_waits_and_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance, "LOCK_SECONDS", 0.05)
    owner(opened(folder)).close()
    with FileLock(folder / "notes" / "g1_p07.lock"), pytest.raises(StoreUnavailable, match=r"g1_p07 back .* end it"):
        owner(opened(folder, boot="boot-2"))
    owner(opened(folder, boot="boot-2"))


@pytest.mark.parametrize("with_note", [True, False])
def test_an_owner_that_was_cut_off_as_it_took_tables_back_leaves_no_gap(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, with_note: bool
) -> None:
    """What it had done already lets every table open again: the next owner must know of it all the same."""
    store = opened(folder, clock=clock)
    part = owner(store)
    if not with_note:
        (folder / "notes" / "g1_p07.json").unlink()
    write(store, part, 0)
    write(store, part, 1)
    tear(folder, "mem_g1_p07", newest=1)

    def killed(*arguments: object) -> None:
        raise StoreUnavailable("the process was killed")

    with monkeypatch.context() as patch:
        patch.setattr(rewind, "_drop", killed)
        patch.setattr(rewind, "_restore", killed)
        with pytest.raises(StoreUnavailable, match="was killed"):
            owner(opened(folder))
    again = opened(folder)
    part = owner(again)
    assert part.last() is None, "a row of position 1 is gone with the torn version"
    write(again, part, 0, 1)
    assert offsets(again) == [0, 1]


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        opened(tmp_path / "file" / "store")
