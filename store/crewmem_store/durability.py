"""Power loss: LanceDB never fsyncs, so the owner of a partition does, and notes up to where.

Once a second at most: the files of the memory table, then those of the ledger, then a note with the boot id and each
table's version. A later owner that finds the note of another boot takes the tables back to those versions: what came
after them may be torn, and is computed again from the log. A folder belongs to one machine; object storage needs none
of this.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crewmem_store.fsync import fsync, write_durably
from crewmem_store.lance_errors import answering

log = logging.getLogger(__name__)

MANIFEST_SUFFIX, TORN_SUFFIX = ".manifest", ".torn"
"""Of a table's version in `_versions`; the second of one that a power loss tore, which counts no more."""

NO_BOOT = "taken back"
"""In a note, of tables that are being taken back: no machine's boot id."""

_LINUX_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """A string that changes with every start of the machine; empty where the system gives none: a power loss goes unnoticed."""
    if _LINUX_BOOT_ID.is_file():
        return _LINUX_BOOT_ID.read_text("ascii").strip()
    if sys.platform == "darwin":
        return subprocess.check_output(["sysctl", "-n", "kern.bootsessionuuid"], text=True).strip()
    return ""


@dataclass(frozen=True, slots=True)
class DurableNote:
    """What is safe on disk: each table's version, and the ledger's position in them (-1: none)."""

    boot: str
    position: int
    tables: Mapping[str, int]


class Durability:
    """The fsyncs and the note of one partition. Raises StoreUnavailable (a full or broken disk)."""

    def __init__(self, folder: Path, name: str, *, boot: str) -> None:
        self._folder = folder
        self._notes = folder / "notes"
        self._path = self._notes / f"{name}.json"
        self._boot = boot
        self._synced: set[Path] = set()
        with answering("making the folder of its notes"):
            self._notes.mkdir(parents=True, exist_ok=True)

    @property
    def lock_path(self) -> Path:
        """Held while a partition is taken back, so that two owners do not do it one after the other."""
        return self._path.with_suffix(".lock")

    def read(self) -> DurableNote | None:
        """The last note; None when the partition never had one."""
        with answering(f"reading {self._path}"):
            try:
                return DurableNote(**json.loads(self._path.read_text("utf-8")))
            except FileNotFoundError:
                return None

    def lost_power_since(self, note: DurableNote) -> bool:
        """Whether the machine was started anew since the note was written."""
        return note.boot != self._boot

    def doubt(self) -> DurableNote:
        """Notes that the tables are being taken back to what the note that it returns names (no table: to nothing).

        Until the next `sync` they look to every owner as after a power loss, also when this one is cut off in the middle.
        """
        note = replace(self.read() or DurableNote(NO_BOOT, -1, {}), boot=NO_BOOT)
        with answering(f"writing {self._path}"):
            self._write(note)
        return note

    def sync(self, versions: Mapping[str, int], *, position: int) -> None:
        """Makes the tables durable in the order given, then the note."""
        with answering("making its files durable"):
            for name in versions:
                self._sync_table(self._folder / f"{name}.lance")
            fsync(self._folder)
            self._write(DurableNote(self._boot, position, dict(versions)))

    def _write(self, note: DurableNote) -> None:
        write_durably(self._path, json.dumps(asdict(note)).encode())

    def _sync_table(self, folder: Path) -> None:
        """Every file that is new since the last time (Lance never changes one), then the folders that hold them."""
        files = {path for path in folder.rglob("*") if path.is_file()}
        fresh = files - self._synced
        for path in sorted(fresh):
            fsync(path)
        for parent in sorted({parent for path in fresh for parent in path.parents if parent.is_relative_to(folder)}):
            fsync(parent)
        self._synced = {path for path in self._synced if not path.is_relative_to(folder)} | files


def versions(folder: Path, name: str) -> list[int]:
    """The versions of a table that have a manifest, torn or not; the newest first."""
    return sorted(_manifests(folder, name), reverse=True)


def readable_manifest(folder: Path, name: str, version: int) -> Path:
    """The manifest of a version that does not open. Raises StoreUnavailable when it cannot be read at all: then it is the disk
    or a limit that is in the way, and nothing is known to be torn."""
    manifest = _manifests(folder, name)[version]
    with answering(f"reading {manifest}"):
        manifest.read_bytes()
    return manifest


def set_torn_aside(folder: Path, name: str, version: int) -> None:
    """Renames the manifest of a version that does not open, so that it counts no more. Raises StoreUnavailable as above."""
    torn = readable_manifest(folder, name, version)
    log.warning("%s does not open at version %d (torn by a power loss?): that version is left out", name, version)
    torn.rename(torn.with_suffix(TORN_SUFFIX))


def _manifests(folder: Path, name: str) -> dict[int, Path]:
    found = (folder / f"{name}.lance" / "_versions").glob(f"*{MANIFEST_SUFFIX}")
    return {_version(manifest): manifest for manifest in found}


def _version(manifest: Path) -> int:
    """Lance counts down from 2**64 - 1 in names of 20 digits, so that the newest is listed first; old ones count up."""
    number = int(manifest.stem)
    return 2**64 - 1 - number if len(manifest.stem) == 20 else number
