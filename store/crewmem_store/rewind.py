"""After a power loss: taking the tables of a partition back to what is known to be on disk."""

from __future__ import annotations

import logging
from enum import Enum

from crewmem_producers.errors import StoreUnavailable

from crewmem_store.durability import Durability, set_torn_aside
from crewmem_store.lance_database import Database
from crewmem_store.lance_errors import answering

log = logging.getLogger(__name__)


def to_what_is_durable(database: Database, durability: Durability, *, memory: str, ledger_prefix: str) -> None:
    """Mends tables that do not open, and undoes what was written after the note of another boot, or of a torn table.

    What is lost so is computed again from the log, since the ledger goes back with the rows; it goes with them when
    nothing of the memory table can be read.
    """
    there = [name for name in database.names(memory) if name == memory]  # not mem_g1_p100 beside mem_g1_p10
    found = {name: _mended(database, name) for name in (*there, *database.names(f"{ledger_prefix}_"))}
    names = [name for name, state in found.items() if state is not _State.GONE]
    if found.get(memory) is _State.GONE:
        for name in names:
            database.drop(name)
        return
    note = durability.read()
    if note is None or not (durability.lost_power_since(note) or _State.TORN in found.values()):
        return
    log.warning("after a power loss %s goes back to position %d and on from there", memory, note.position)
    for name in names:
        if name in note.tables:
            _restore(database, name, note.tables[name])
        else:
            database.drop(name)


class _State(Enum):
    WHOLE = "whole"
    TORN = "torn"
    GONE = "gone"


def _mended(database: Database, name: str) -> _State:
    """Sets torn manifests aside until the table opens; one of which nothing is left is removed."""
    state = _State.WHOLE
    while True:
        try:
            return state if database.table(name) is not None else _State.GONE
        except StoreUnavailable:
            state = _State.TORN
            if database.folder is None or not set_torn_aside(database.folder, name):
                log.warning("nothing of %s can be read: it is made anew", name)
                database.drop(name)
                return _State.GONE


def _restore(database: Database, name: str, version: int) -> None:
    table = database.table(name)
    with answering(f"taking {name} back to version {version}"):
        if table is None or table.version <= version:
            return
        there = {item["version"] for item in table.list_versions()}
        if version not in there:
            log.warning("version %d of %s is gone; it stays at version %d", version, name, table.version)
            return
        table.checkout(version)
        table.restore()
