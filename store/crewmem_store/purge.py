"""Getting what was erased out of a table's files: nulling a row leaves its text in old files, versions and indexes.

Measured with LanceDB 0.40: an update writes the row anew and marks the old one as deleted in its file; joining files drops
it, except from a file that is full (1,048,576 rows) and of which less than a tenth is deleted; an index keeps the values of
rows that are gone until it is made anew; files of a write that was cut off belong to no version, and stay for a week.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

from crewmem_store.durability import MANIFEST_SUFFIX, TORN_SUFFIX
from crewmem_store.files import File, Files
from crewmem_store.lance_table import OwnedTable
from crewmem_store.store import Checkpoint

STRAY_SECONDS = 900.0
"""A file that no version names may belong to a write that is under way; after so long it was cut off."""

SETTLED, OLD_REMOVED, REWRITTEN = "table_settled", "old_versions_removed", "table_rewritten"
FILES_PURGED, NOTED = "files_purged", "purge_noted"
STEPS = (SETTLED, OLD_REMOVED, REWRITTEN, FILES_PURGED, NOTED)
"""In this order; the third only where joining files left deleted rows, and then the first two again. The last two are the
partition's own. A crash test stops an owner at each of them."""

_ALL_BUT_THE_NEWEST = timedelta(milliseconds=1)


def purge(
    table: OwnedTable, files: Files, *, make_durable: Callable[[], None], now: float, checkpoint: Checkpoint
) -> list[str]:
    """Leaves only what the newest version holds; gives what must still be waited for, one sentence each.

    `make_durable` is called before old versions are removed, so that no note names one of them; `now` in epoch seconds.
    Raises StoreUnavailable.
    """
    _only_the_newest(table, make_durable, checkpoint)
    if _deleted_rows(table, files):
        table.rewrite()
        checkpoint(REWRITTEN)
        _only_the_newest(table, make_durable, checkpoint)
    left = [f"{table.name} has files with deleted rows"] if _deleted_rows(table, files) else []
    return left + without_strays(table, files, now)


def _only_the_newest(table: OwnedTable, make_durable: Callable[[], None], checkpoint: Checkpoint) -> None:
    table.settle()
    table.reindex()
    make_durable()
    checkpoint(SETTLED)
    table.clean_up(_ALL_BUT_THE_NEWEST)
    checkpoint(OLD_REMOVED)


def _deleted_rows(table: OwnedTable, files: Files) -> bool:
    """Whether a file has rows that were deleted: some version names a list of them."""
    lists = files.listing(f"{table.name}.lance/_deletions")
    versions = _versions(table, files) if lists else b""
    return any(_is_named(file, versions) for file in lists)


def without_strays(table: OwnedTable, files: Files, now: float) -> list[str]:
    """Removes files that no version names, and versions that were set aside as torn; a sentence for each that is too young
    for that. `now` in epoch seconds. Raises StoreUnavailable."""
    folder = f"{table.name}.lance"
    for file in files.listing(f"{folder}/_versions"):
        if file.name.endswith(TORN_SUFFIX):
            files.delete(file.name)
    there = [file for kind in ("data", "_deletions", "_indices") for file in files.listing(f"{folder}/{kind}")]
    versions = _versions(table, files)  # read after the listing: a file that was committed meanwhile is named
    left = []
    for file in there:
        if _is_named(file, versions):
            continue
        if now - file.modified >= STRAY_SECONDS:
            files.delete(file.name)
        else:
            left.append(f"{file.name} belongs to a write that is under way or was cut off: it is removed after 15 minutes")
    return left


def _versions(table: OwnedTable, files: Files) -> bytes:
    """The manifests of all versions that there are, one after the other; a torn one is none."""
    listing = files.listing(f"{table.name}.lance/_versions")
    return b"".join(files.read(file.name) for file in listing if file.name.endswith(MANIFEST_SUFFIX))


def _is_named(file: File, versions: bytes) -> bool:
    """Whether one of the manifests names the file. A manifest holds the names of data files as they are, of an index the 16
    bytes of its folder's name, and of a list of deleted rows (`<fragment>-<version>-<id>.arrow`) the random id as a varint."""
    parts = file.name.split("/")
    if "_indices" in parts:
        return uuid.UUID(parts[parts.index("_indices") + 1]).bytes in versions
    if "_deletions" in parts:
        id = parts[-1].partition(".")[0].rpartition("-")[2]
        return not id.isdecimal() or _varint(int(id)) in versions
    return parts[-1].encode() in versions


def _varint(number: int) -> bytes:
    """As protobuf writes an unsigned number."""
    groups = [number >> shift & 0x7F for shift in range(0, max(1, number.bit_length()), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
