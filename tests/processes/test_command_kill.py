"""kill -9 of `crewmem forget --erase`, of the owner that purges, of `keys rotate-master`, `backup create` and `backup restore`
at each of their steps: the same command again, or the next owner, finishes; what is erased stays so, and no key is lost."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_producers import codec, data_keys, erasing, master_key, rotation
from crewmem_producers.connect import open_keyring, open_log, open_registry, open_sealer
from crewmem_producers.errors import KeyErased, KeyMissing
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.names import Scope
from crewmem_producers.registry import Registry, Value
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import purge
from crewmem_store.backup import create, restore
from processes.harness import PATIENCE_SECONDS, Stack, environment, exit_code, stack
from support.raw_files import holding
from typer.testing import CliRunner, Result

SCRIPT = Path(__file__).with_name("command.py")
OLD, NEW = master_key.generate(), master_key.generate()
ANN, BOB = "ann-geheim", "bob-bleibt"
TEXTS = {ANN: "Marker-Quastenflosser says one thing.", BOB: "Marker-Steinbutt says another."}
ERASE = ("forget", "--session", ANN, "--erase", "--yes", "--json")
KEYS = {name: Scope.of("default", name).key for name in TEXTS}


@dataclass(frozen=True)
class Home:
    """A machine's folder, and what is done with it."""

    folder: Path
    master: str = OLD

    @property
    def settings(self) -> ConsumerSettings:
        return ConsumerSettings(home=self.folder, master_key=self.master)

    def run(self, *arguments: str) -> Result:
        """`crewmem`, undisturbed."""
        return CliRunner().invoke(app, list(arguments), env=self._own)

    def killed(self, *arguments: str, die_at: str, without: str = "") -> None:
        """`crewmem` in a process of its own that kills itself at the step."""
        done = subprocess.run(
            [sys.executable, SCRIPT, die_at, without, *arguments], env=environment() | self._own, capture_output=True,
            text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)

    @property
    def _own(self) -> dict[str, str]:
        return {"CREWMEM_HOME": str(self.folder), "CREWMEM_MASTER_KEY": self.master}

    def erase(self, *, wait: int = 0) -> Result:
        return self.run(*ERASE, "--wait", str(wait))

    def publish(self, numbers: range, *sessions: str) -> None:
        """A sealed memory of each session and number."""

        async def work(registry: Registry) -> None:
            sealer, log = open_sealer(self.settings, registry), open_log(self.settings)
            assert sealer is not None
            records = [
                codec.encode(Event(MemoryRemembered(content=f"{number}: {TEXTS[session]}"), Scope.of("default", session)))
                for number in numbers
                for session in sessions
            ]
            await log.start()
            await log.append(await sealer.seal(records))
            await log.close()

        self.with_registry(work)

    def with_registry(self, work: object) -> None:
        async def run() -> None:
            registry = open_registry(self.settings)
            await registry.start()
            try:
                await work(registry)  # type: ignore[operator]
            finally:
                await registry.close()

        asyncio.run(run())

    def records(self) -> list[LoggedRecord]:
        async def read() -> list[LoggedRecord]:
            log = open_log(self.settings)
            await log.start()
            try:
                return await log.read(0, 0)
            finally:
                await log.close()

        return asyncio.run(read())

    def readable(self) -> dict[str, set[str]]:
        """Session -> how its sealed records open: `read`, `erased` or `missing`."""
        found: dict[str, set[str]] = {name: set() for name in TEXTS}
        records = self.records()

        async def work(registry: Registry) -> None:
            keyring = open_keyring(self.settings, registry)
            for name, key in KEYS.items():
                for record in records:
                    if record.key == key.encode() and record.header("crewmem-key"):
                        found[name].add(_opens(keyring.open, record))

        self.with_registry(work)
        return found

    def forgets(self) -> set[str | None]:
        """The event ids of the forgets on the log: one that is there twice counts once."""
        return {record.header("ce_id") for record in self.records() if record.header("ce_type") == "crewmem.session.forgotten"}

    def data_keys(self, session: str) -> dict[str, Value]:
        found: dict[str, Value] = {}

        async def work(registry: Registry) -> None:
            found.update(data_keys.of_scope(registry, KEYS[session]))

        self.with_registry(work)
        return found

    def wrapped(self, session: str) -> list[str]:
        return [str(value["wrapped"]) for value in self.data_keys(session).values() if "wrapped" in value]


def _opens(open: object, record: Record | LoggedRecord) -> str:
    try:
        codec.decode(open(record))  # type: ignore[operator]
    except KeyErased:
        return "erased"
    except KeyMissing:
        return "missing"
    return "read"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    made = Home(tmp_path / "home")
    made.publish(range(2), ANN, BOB)
    return made


IN_CI = (*erasing.STEPS, purge.FILES_PURGED, rotation.REWRAPPED, create.REGISTRY_WRITTEN, restore.SEGMENT_RESTORED)
"""The others are slow; tests of each module stop at every step, with an exception in place of a kill."""


def at_each(steps: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("step", [pytest.param(one, marks=[] if one in IN_CI else pytest.mark.slow) for one in steps])


# An erase.


@at_each(erasing.STEPS)
def test_a_killed_erase_is_finished_by_the_same_command(home: Home, step: str) -> None:
    home.killed(*ERASE, "--wait", "0", die_at=step)
    assert home.readable()[BOB] == {"read"}
    again = home.erase()
    assert again.exit_code == 1 and "the store cannot be seen" in json.loads(again.stdout)["pending"][0]
    assert home.readable() == {ANN: {"erased"}, BOB: {"read"}} and home.wrapped(ANN) == []
    assert len(home.forgets()) == (2 if step == erasing.NOTED else 1), "finished, and not begun anew; unless it was done"


def test_the_control_that_notes_no_plan_is_caught(home: Home) -> None:
    home.killed(*ERASE, "--wait", "0", die_at=erasing.FORGOTTEN, without="plan")
    home.erase()
    assert len(home.forgets()) == 2


# The purge of the tables, by the partition's owner.


@pytest.fixture(scope="module")
def consumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose memories are in its store; no consumer runs, and one session's erase is under way."""
    folder = tmp_path_factory.mktemp("consumed") / "home"
    folder.mkdir()
    made = Home(folder)
    made.publish(range(2), ANN, BOB)
    (folder / "wrapped.json").write_text(json.dumps(made.wrapped(ANN)))
    with stack(folder, namespace="crewmem", more={"master_key": OLD}) as running:
        asyncio.run(_consumed(running))
    words = [TEXTS[ANN], ANN, *made.wrapped(ANN)]
    assert set().union(*holding(folder / "store", words).values()) == {TEXTS[ANN], ANN}, "what is there is found"
    assert made.erase().exit_code == 1
    return folder


async def _consumed(running: Stack) -> None:
    consumer = running.start()
    await running.caught_up()
    consumer.terminate()
    assert await exit_code(consumer) == 0, running.output()


@pytest.fixture
def erasing_home(tmp_path: Path, consumed: Path) -> Iterator[tuple[Home, Stack]]:
    shutil.copytree(consumed, tmp_path / "home")
    with stack(tmp_path / "home", namespace="crewmem", more={"master_key": OLD}) as running:
        yield Home(tmp_path / "home"), running


REACHED = tuple(step for step in purge.STEPS if step != purge.REWRITTEN)
"""Files are written anew only where one is full: tests/store/test_purge.py stops there."""


@at_each(REACHED)
async def test_a_killed_owner_is_followed_by_one_that_finishes_the_purge(erasing_home: tuple[Home, Stack], step: str) -> None:
    home, running = erasing_home
    killed = running.start(die_at=step)
    assert await exit_code(killed) == -signal.SIGKILL, running.output()
    running.start()
    done = await asyncio.to_thread(home.erase, wait=240)
    assert done.exit_code == 0, (done.stdout, done.stderr, running.output())
    wrapped = json.loads((home.folder / "wrapped.json").read_text())
    (home.folder / "wrapped.json").unlink()
    assert wrapped and holding(home.folder, [TEXTS[ANN], ANN, *wrapped]) == {}
    assert set().union(*holding(home.folder / "store", [TEXTS[BOB]]).values()) == {TEXTS[BOB]}
    account = await asyncio.to_thread(home.run, "accounting", "--verify")
    assert account.exit_code == 0, account.stdout


# A rotation of the master key.


@at_each(rotation.STEPS)
def test_a_killed_rotation_is_finished_by_the_same_command_also_after_an_erase(home: Home, step: str) -> None:
    both = Home(home.folder, f"{NEW} {OLD}")
    both.killed("keys", "rotate-master", "--retire", die_at=step)
    assert both.readable() == {ANN: {"read"}, BOB: {"read"}}, "no key is lost"
    both.erase()
    assert both.readable() == {ANN: {"erased"}, BOB: {"read"}}
    done = both.run("keys", "rotate-master", "--retire")
    assert done.exit_code == 0, done.stderr
    assert Home(home.folder, NEW).readable() == {ANN: {"erased"}, BOB: {"read"}}, "nothing needs the old key"
    assert both.wrapped(ANN) == []


# A backup.


@at_each(create.STEPS)
def test_a_killed_backup_is_whole_as_it_was_and_completed_by_the_same_command(home: Home, tmp_path: Path, step: str) -> None:
    place = tmp_path / "backup"
    assert home.run("backup", "create", str(place)).exit_code == 0
    wrapped = home.wrapped(ANN)
    assert holding(place, wrapped), "what is there is found"
    home.erase()
    home.publish(range(2, 4), BOB)
    home.killed("backup", "create", str(place), die_at=step)
    between = home.run("backup", "verify", str(place), "--json")
    assert between.exit_code == 0 and json.loads(between.stdout)["problems"] == []
    assert home.run("backup", "create", str(place)).exit_code == 0
    after = home.run("backup", "verify", str(place), "--json")
    assert after.exit_code == 0 and json.loads(after.stdout)["records"] == len(home.records()) == 7
    assert holding(place, wrapped) == {}, "and lets go of what was erased"


def test_the_control_that_writes_the_manifest_first_is_caught(home: Home, tmp_path: Path) -> None:
    home.killed("backup", "create", str(tmp_path / "backup"), die_at=create.MANIFEST_WRITTEN, without="manifest")
    assert home.run("backup", "verify", str(tmp_path / "backup")).exit_code == 1


@at_each(restore.STEPS)
def test_a_killed_restore_is_finished_by_the_same_command_and_brings_back_nothing_erased(
    home: Home, tmp_path: Path, step: str
) -> None:
    """The backup is older than the erase, of which the target knows."""
    there, place = backed_up_before_the_erase(home, tmp_path)
    there.killed("backup", "restore", place, die_at=step)
    assert there.readable()[ANN] <= {"erased"} and there.readable()[BOB] <= {"read"}
    again = there.run("backup", "restore", place)
    assert again.exit_code == 0, again.stderr
    assert there.readable() == {ANN: {"erased"}, BOB: {"read"}} and there.wrapped(ANN) == []
    mine, theirs = home.records()[:4], there.records()
    assert [(one.offset, one.crc) for one in theirs[:4]] == [(one.offset, one.crc) for one in mine]
    assert there.forgets() == home.forgets(), "and the log says so again"
    assert there.run("backup", "verify", place).exit_code == 0


def test_the_control_that_forgets_the_targets_erasures_is_caught(home: Home, tmp_path: Path) -> None:
    there, place = backed_up_before_the_erase(home, tmp_path)
    there.killed("backup", "restore", place, die_at=restore.ERASURES_APPENDED, without="erasures")
    assert there.wrapped(ANN) != [] and not there.forgets()


def backed_up_before_the_erase(home: Home, tmp_path: Path) -> tuple[Home, str]:
    """Another home that knows of the erase (its registry's record of it), and the place of an older backup."""
    place = str(tmp_path / "backup")
    assert home.run("backup", "create", place).exit_code == 0
    home.erase()
    (tmp_path / "there").mkdir()
    there = Home(tmp_path / "there")
    known: dict[str, Value] = {}

    async def look(registry: Registry) -> None:
        known.update(registry.items(erasing.PREFIX))

    async def tell(registry: Registry) -> None:
        for key, value in known.items():
            await registry.put(key, value)

    home.with_registry(look)
    there.with_registry(tell)
    return there, place
