"""A SQLite file across a fork: neither process takes the other's writes away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.sqlite import Database
from support import programs

FORKING = """
import asyncio, os
from pathlib import Path
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.sqlite import Database

path, ready, closed = (Path(os.environ["CREWMEM_FOLDER"]) / name for name in ("x", "ready", "closed"))

def database():
    return Database(path, schema="CREATE TABLE IF NOT EXISTS said (who TEXT)", unavailable=LogUnavailable)

def say(who):
    return lambda connection: connection.execute("INSERT INTO said VALUES (?)", (who,))

async def wait_for(file):
    while not file.exists():
        await asyncio.sleep(0.01)

async def child(inherited):
    try:
        await inherited.run(say("nobody"))
    except LogUnavailable as error:
        assert "is not open" in str(error)
    else:
        raise AssertionError("the parent's connection was used")
    own = database()
    await own.open()
    ready.touch()
    await wait_for(closed)  # as the parent closes last but one, SQLite would remove the write-ahead log under this one
    await own.run(say("child"))
    await own.close()

async def parent(opened, pid):
    await opened.run(say("parent"))
    await wait_for(ready)
    await opened.close()
    closed.touch()
    assert os.waitpid(pid, 0)[1] == 0

loop = asyncio.new_event_loop()
opened = database()
loop.run_until_complete(opened.open())
pid = os.fork()
if pid:
    loop.run_until_complete(parent(opened, pid))
else:
    asyncio.run(child(opened))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_each_process_has_a_connection_of_its_own_and_all_writes_are_kept(tmp_path: Path) -> None:
    ended = programs.run(FORKING, folder=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    with sqlite3.connect(tmp_path / "x") as connection:
        assert sorted(who for (who,) in connection.execute("SELECT who FROM said")) == ["child", "parent"]


def test_a_connection_that_was_let_go_is_opened_again_at_the_next_call(tmp_path: Path) -> None:
    async def use() -> None:
        database = Database(tmp_path / "x", schema="CREATE TABLE IF NOT EXISTS said (who TEXT)", unavailable=LogUnavailable)
        await database.open()
        database.before_fork()
        asked = asyncio.ensure_future(database.run(lambda connection: connection.execute("SELECT 1").fetchone()))
        await asyncio.sleep(0.05)
        assert not asked.done(), "nothing runs during the fork"
        database.after_fork_in_parent()
        assert await asked == (1,)
        await database.close()

    asyncio.run(use())
