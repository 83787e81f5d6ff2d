"""After a power loss: taking the tables of a partition back to what is known to be on disk."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from crewmem_producers.errors import StoreUnavailable

from crewmem_store.durability import Durability, readable_manifest, set_torn_aside, versions
from crewmem_store.lance_database import Database
from crewmem_store.lance_errors import answering

log = logging.getLogger(__name__)


def is_needed(database: Database, durability: Durability, *, memory: str, ledger_prefix: str) -> bool:
    """Whether the machine lost power since the tables were noted, a table does not open, or an owner is taking them back."""
    note = durability.read()
    if note is not None and durability.lost_power_since(note):
        return True
    return not all(_opens(database, name) for name in _tables(database, memory, ledger_prefix))


def to_what_is_durable(database: Database, durability: Durability, *, memory: str, ledger_prefix: str) -> None:
    """Mends tables that do not open. After a power loss, or where one was torn, all go back to the versions of the last note.

    What is lost so is computed again from the log, since the ledger goes back with the rows. The ledger is dropped when a
    table lacks a version the note names, or the memory table is unreadable: otherwise positions would be skipped.
    """
    if not is_needed(database, durability, memory=memory, ledger_prefix=ledger_prefix):
        return  # whoever held the lock before did it
    there = _tables(database, memory, ledger_prefix)
    _check_disk(database, there)
    note = durability.doubt()
    names = [name for name in there if _mended(database, name)]
    if memory in there and memory not in names:
        _drop(database, names)
        return
    for name in names:
        _without_torn_versions(database, name, above=note.tables.get(name, -1))
    if not note.tables or not all(_reaches(database, name, version) for name, version in note.tables.items()):
        log.warning("%s does not reach what was on disk: its positions are computed again from the log's start", memory)
        _drop(database, [name for name in names if name != memory])
        return
    log.warning("after a power loss %s goes back to position %d and on from there", memory, note.position)
    for name in names:
        if name in note.tables:
            _restore(database, name, note.tables[name])
        else:
            database.drop(name)


def _tables(database: Database, memory: str, ledger_prefix: str) -> list[str]:
    there = [name for name in database.names(memory) if name == memory]  # not mem_g1_p100 beside mem_g1_p10
    return [*there, *database.names(f"{ledger_prefix}_")]


def _opens(database: Database, name: str) -> bool:
    try:
        database.table(name)
    except StoreUnavailable:
        return False
    return True


def _check_disk(database: Database, names: Iterable[str]) -> None:
    """Raises StoreUnavailable when it is not the tables that are torn: nothing is touched then."""
    for name in names:
        if database.folder is not None and not _opens(database, name) and (found := versions(database.folder, name)):
            readable_manifest(database.folder, name, found[0])


def _mended(database: Database, name: str) -> bool:
    """Sets torn manifests aside until the table opens; one of which nothing is left is removed, and the answer is no."""
    while not _opens(database, name):
        found = [] if database.folder is None else versions(database.folder, name)
        if database.folder is None or not found:
            log.warning("nothing of %s can be read: it is made anew", name)
            database.drop(name)
            return False
        set_torn_aside(database.folder, name, found[0])
    return database.table(name) is not None


def _without_torn_versions(database: Database, name: str, *, above: int) -> None:
    """Sets torn manifests of later versions aside: what lists the versions of a table, or cleans them up, reads each one."""
    if database.folder is None:
        return
    for version in versions(database.folder, name):
        if version > above and not database.opens_at(name, version):
            set_torn_aside(database.folder, name, version)


def _reaches(database: Database, name: str, version: int) -> bool:
    """Whether the table can be taken back to that version."""
    table = database.table(name)
    with answering(f"looking for version {version} of {name}"):
        return table is not None and version in {item["version"] for item in table.list_versions()}


def _restore(database: Database, name: str, version: int) -> None:
    table = database.table(name)
    with answering(f"taking {name} back to version {version}"):
        if table is None or table.version == version:
            return
        table.checkout(version)
        table.restore()


def _drop(database: Database, names: Iterable[str]) -> None:
    for name in names:
        database.drop(name)
