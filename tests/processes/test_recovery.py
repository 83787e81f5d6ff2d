"""The log or the store is not what it was: the consumers catch up by themselves, or refuse with a remedy that works."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewmem_consumers.steps import LEDGER_WRITTEN, ROWS_MERGED
from crewmem_producers.connect import FILE_NAME, open_log, open_registry
from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations
from crewmem_store.accounting import verify
from processes.harness import Stack, compare, exit_code, stack
from processes.test_consumer_kill import eventful_log
from support.awaiting import until
from support.keyrings import plain_keyring
from support.logged import remembered_record

pytestmark = pytest.mark.timeout(600)

MORE = [remembered_record(number, session=f"s{number % 4}") for number in range(1000, 1030)]
OTHERS = [remembered_record(number, session=f"s{number % 4}") for number in range(2000, 2080)]


@pytest.fixture
def sqlite(tmp_path: Path, namespace: str) -> Iterator[Stack]:
    with stack(tmp_path / "stack", namespace=namespace) as made:
        yield made


async def consumed(made: Stack) -> None:
    """A consumer takes what is on the log and is stopped."""
    process = made.start()
    await until(lambda: is_readable(made), what="the consumer has mended the store", seconds=120)
    await made.caught_up()
    process.terminate()
    assert await exit_code(process) == 0, made.output()


def is_readable(made: Stack) -> bool:
    try:
        return made.reader().last_offset(0) >= -1
    except StoreUnavailable:
        return False


async def misfits(made: Stack) -> list[str]:
    """What the account of the generation that answers says does not fit."""
    settings = ConsumerSettings(**made.settings())
    log, registry, store = open_log(settings), open_registry(settings), made.store()
    await log.start()
    await registry.start()
    store.open(namespace=made.namespace)
    try:
        generation = generations.active(registry)
        found = await verify(log, store.reader(generation.name), generation, keyring=plain_keyring())
        return [str(misfit) for misfit in found.misfits]
    finally:
        store.close()
        await registry.close()
        await log.close()


def store_of(made: Stack) -> Path:
    return Path(ConsumerSettings(**made.settings()).store_uri)


# A power cut: the newest files of the store are not what the process wrote, and the machine has another boot id.


def tear_the_newest_manifests(folder: Path) -> None:
    for table in folder.glob("*_p00*.lance"):
        newest = min((table / "_versions").glob("*.manifest"))
        newest.write_bytes(newest.read_bytes()[:40])


def empty_what_is_newest(folder: Path) -> None:
    for path in unsynced(folder):
        path.write_bytes(b"")


def remove_what_is_newest(folder: Path) -> None:
    for path in unsynced(folder):
        path.unlink()


def unsynced(folder: Path) -> list[Path]:
    """Every file that came after the note of what is on disk."""
    noted = (folder / "notes" / "g1_p00.json").stat().st_mtime_ns
    return [path for path in folder.glob("*_p00*.lance/**/*") if path.is_file() and path.stat().st_mtime_ns > noted]


def another_boot(folder: Path) -> None:
    for path in (folder / "notes").glob("*.json"):
        note = json.loads(path.read_text())
        path.write_text(json.dumps(note | {"boot": "the boot before"}))


@pytest.mark.parametrize(
    ("damage", "step"),
    [
        (tear_the_newest_manifests, ROWS_MERGED), (remove_what_is_newest, ROWS_MERGED),
        pytest.param(empty_what_is_newest, LEDGER_WRITTEN, marks=pytest.mark.slow),
        pytest.param(tear_the_newest_manifests, LEDGER_WRITTEN, marks=pytest.mark.slow),
        pytest.param(empty_what_is_newest, ROWS_MERGED, marks=pytest.mark.slow),
        pytest.param(remove_what_is_newest, LEDGER_WRITTEN, marks=pytest.mark.slow),
    ],
)  # fmt: skip
async def test_after_a_power_cut_the_consumer_computes_again_what_was_not_on_disk(
    sqlite: Stack, step: str, damage: Callable[[Path], None]
) -> None:
    await sqlite.prepare()
    await sqlite.publish(eventful_log())
    await consumed(sqlite)
    await sqlite.publish(MORE)
    killed = sqlite.start(die_at=step, times=3)
    assert await exit_code(killed) == -signal.SIGKILL, sqlite.output()
    damage(store_of(sqlite))
    another_boot(store_of(sqlite))
    await consumed(sqlite)
    assert compare(sqlite.account(), await sqlite.clean()) == []
    assert await misfits(sqlite) == []


async def test_a_store_folder_of_yesterday_catches_up(sqlite: Stack, tmp_path: Path) -> None:
    await sqlite.prepare()
    await sqlite.publish(eventful_log())
    await consumed(sqlite)
    shutil.copytree(store_of(sqlite), tmp_path / "yesterday")
    await sqlite.publish(MORE)
    await consumed(sqlite)
    shutil.rmtree(store_of(sqlite))
    shutil.copytree(tmp_path / "yesterday", store_of(sqlite))
    await consumed(sqlite)
    assert compare(sqlite.account(), await sqlite.clean()) == []
    assert await misfits(sqlite) == []


@pytest.mark.slow
async def test_a_store_folder_that_is_gone_is_computed_again(sqlite: Stack) -> None:
    await sqlite.prepare()
    await sqlite.publish(eventful_log())
    await consumed(sqlite)
    shutil.rmtree(store_of(sqlite))
    await consumed(sqlite)
    assert compare(sqlite.account(), await sqlite.clean()) == []
    assert await misfits(sqlite) == []


# The log is not the one that the store was made from.


def wipe(home: Path) -> None:
    """The file is gone, and the registry with it."""
    for path in home.glob(f"{FILE_NAME}*"):
        path.unlink()


def wipe_the_records(home: Path) -> None:
    change(home, "DELETE FROM log_records", "UPDATE log_partitions SET next_offset = 0")


def lose_the_tail(home: Path) -> None:
    change(home, 'DELETE FROM log_records WHERE "offset" >= 20', "UPDATE log_partitions SET next_offset = 20")


def change(home: Path, *statements: str) -> None:
    with sqlite3.connect(home / FILE_NAME) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.mark.parametrize(
    ("damage", "refilled"),
    [
        (wipe, True), (lose_the_tail, True), pytest.param(lose_the_tail, False, marks=pytest.mark.slow),
        pytest.param(wipe, False, marks=pytest.mark.slow), pytest.param(wipe_the_records, False, marks=pytest.mark.slow),
        pytest.param(wipe_the_records, True, marks=pytest.mark.slow),
    ],
)  # fmt: skip
async def test_a_log_that_is_another_one_is_refused_and_the_remedy_works(
    sqlite: Stack, damage: Callable[[Path], None], refilled: bool
) -> None:
    await sqlite.prepare()
    await sqlite.publish(eventful_log())
    await consumed(sqlite)
    damage(sqlite.home)
    await sqlite.prepare()
    await sqlite.publish(OTHERS if refilled else OTHERS[:5])
    refused = sqlite.start()
    assert await exit_code(refused) != 0
    assert "LogMismatch" in sqlite.output() and "`crewmem replay` builds" in sqlite.output()
    mended = sqlite.start(replay=True)
    assert await exit_code(mended) == 0, sqlite.output()
    assert compare(sqlite.account("g2"), await sqlite.clean()) == []
    assert await misfits(sqlite) == []
    await sqlite.publish(MORE)
    process = sqlite.start()
    await sqlite.caught_up("g2")
    process.terminate()
    await exit_code(process)
    assert await misfits(sqlite) == []
