"""Sealing in processes that are killed, that fork, and that run beside each other: whatever is on the log opens."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from crewmem_producers import data_keys, master_key
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_keyring, open_log, open_registry
from crewmem_producers.errors import KeyMissing
from crewmem_producers.events import MemoryRemembered
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import CrewSettings, load
from support import programs

PRIVATE = master_key.generate()

PUBLISHER = """
import os, signal, sys
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.publisher import Publisher
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.settings import CrewSettings, load
from crewmem_producers.transport_kafka import KafkaTransport
from support.events import remembered

put, append = SqliteRegistry.put, SqliteLog.append

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

async def put_and_die(self, key, value):
    await put(self, key, value)
    if key.startswith("datakey/"):
        die()

async def do_not_put(self, key, value):  # the guard taken out: the key is used before it is in the registry
    self._view.put(key, value)

async def append_and_die(self, records):
    await append(self, records)
    die()

def publisher():
    settings = load(CrewSettings)
    return Publisher(settings, transport=lambda: KafkaTransport.of(settings))
"""
ONE = PUBLISHER + "\nsending = publisher()\nsending.publish(remembered(sys.stdin.read()))\nsending.flush(50)\nsending.close()\n"
KILLED_AFTER_THE_KEY = PUBLISHER + "\nSqliteRegistry.put = put_and_die\n" + ONE.removeprefix(PUBLISHER)
WITHOUT_THE_GUARD = (
    PUBLISHER + "\nSqliteRegistry.put, SqliteLog.append = do_not_put, append_and_die\n" + ONE.removeprefix(PUBLISHER)
)
FORKING = (
    PUBLISHER
    + """
sending = publisher()
sending.publish(remembered("before"))
sending.flush(50)
child = os.fork()
for number in range(20):
    sending.publish(remembered(f"{'parent' if child else 'child'} {number}"))
sent = sending.flush(50)
sending.close()
if child:
    assert os.waitpid(child, 0)[1] == 0, "the child ends well"
assert sent, "everything is on the log in time"
"""
)


def run(code: str, home: Path, said: str = "") -> int:
    process = programs.start(code, home=str(home), master_public_key=MasterKeys.parse(PRIVATE).current.text, flush_seconds="50")
    out, err = process.communicate(said, timeout=programs.PATIENCE_SECONDS)
    assert process.returncode in (0, -signal.SIGKILL), (out, err)
    return process.returncode


class Found:
    """What lies on the log of a home folder, opened with the private key."""

    def __init__(self, home: Path) -> None:
        self.contents: list[str] = []
        self.keys: set[str | None] = set()
        self.nonces: list[bytes] = []
        self.in_registry = 0
        asyncio.run(self._read(load(CrewSettings, home=home, master_key=PRIVATE)))

    async def _read(self, settings: CrewSettings) -> None:
        log, registry = open_log(settings), open_registry(settings)
        await log.start()
        await registry.start()
        try:
            keyring = open_keyring(settings, registry)
            for record in await log.read(0, 0):
                body = decode(keyring.open(record)).body
                assert isinstance(body, MemoryRemembered)
                self.contents.append(body.content)
                self.keys.add(key_id(record))
                self.nonces.append((record.value or b"")[:12])
            self.in_registry = len(registry.items(data_keys.PREFIX))
        finally:
            await registry.close()
            await log.close()


def test_a_process_that_is_killed_between_key_and_first_event_loses_and_hides_nothing(tmp_path: Path) -> None:
    assert run(KILLED_AFTER_THE_KEY, tmp_path, "first") == -signal.SIGKILL
    left = Found(tmp_path)
    assert (left.contents, left.in_registry) == ([], 1), "the key was put, and the event not yet sent"
    assert run(ONE, tmp_path, "second") == 0
    found = Found(tmp_path)
    assert sorted(found.contents) == ["first", "second"]
    assert found.in_registry == 2, "the key of the dead is never used"


def test_a_control_that_uses_a_key_before_it_is_in_the_registry_is_caught(tmp_path: Path) -> None:
    assert run(WITHOUT_THE_GUARD, tmp_path, "first") == -signal.SIGKILL
    with pytest.raises(KeyMissing):
        Found(tmp_path)


def test_two_processes_at_once_have_keys_of_their_own(tmp_path: Path) -> None:
    public = MasterKeys.parse(PRIVATE).current.text
    # Two outboxes: each process relays what it publishes.
    both = [
        programs.start(ONE, home=str(tmp_path), outbox_dir=str(tmp_path / name), master_public_key=public, flush_seconds="50")
        for name in ("a", "b")
    ]
    for number, process in enumerate(both):
        _, err = process.communicate(str(number), timeout=programs.PATIENCE_SECONDS)
        assert process.returncode == 0, err
    found = Found(tmp_path)
    assert sorted(found.contents) == ["0", "1"] and len(found.keys) == 2


def test_after_a_fork_parent_and_child_seal_and_no_nonce_repeats(tmp_path: Path) -> None:
    assert run(FORKING, tmp_path) == 0
    found = Found(tmp_path)
    wanted = ["before"] + [f"{who} {number}" for who in ("parent", "child") for number in range(20)]
    assert sorted(set(found.contents)) == sorted(wanted)
    assert len(set(found.nonces)) == len(found.nonces)
