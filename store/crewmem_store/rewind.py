"""After a power loss: taking the tables of a partition back to what is known to be on disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from crewmem_producers.errors import StoreUnavailable

from crewmem_store.durability import Durability, set_torn_aside
from crewmem_store.lance_database import Database
from crewmem_store.lance_errors import answering

log = logging.getLogger(__name__)


def to_what_is_durable(database: Database, durability: Durability, *, prefixes: Sequence[str]) -> None:
    """Mends tables that do not open, and undoes what was written after the note of another boot.

    What is lost so is computed again from the log, since the ledger goes back with the rows.
    """
    names = [name for prefix in prefixes for name in database.names(prefix)]
    names = [name for name in names if _opens(database, name)]
    note = durability.read()
    if note is None or not durability.lost_power_since(note):
        return
    log.warning("the machine was started anew: %s goes back to position %d and on from there", prefixes[0], note.position)
    for name in names:
        if name in note.tables:
            _restore(database, name, note.tables[name])
        else:
            database.drop(name)


def _opens(database: Database, name: str) -> bool:
    """Sets torn manifests aside until the table opens; one of which nothing is left is removed."""
    while True:
        try:
            return database.table(name) is not None
        except StoreUnavailable:
            if database.folder is None or not set_torn_aside(database.folder, name):
                log.warning("nothing of %s can be read: it is made anew", name)
                database.drop(name)
                return False


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
