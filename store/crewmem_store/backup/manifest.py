"""The manifest of a backup: which segments it has, and what each must hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from crewmem_store.errors import BackupBroken
from crewmem_store.files import Files

NAME = "manifest.json"
VERSION = 1
EVENTS, LETTERS = "events", "letters"
TOPICS = (EVENTS, LETTERS)

Show = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup, and for a segment the offsets of its first and last record."""

    name: str
    sha256: str
    size: int
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class Manifest:
    """`segments[topic][partition]` are its files, in the log's order. `created_at` is RFC 3339; `number` counts the copies of
    the registry that were written."""

    namespace: str
    partitions: int
    created_at: str = ""
    segments: dict[str, list[list[Part]]] = field(default_factory=dict)
    registry: Part | None = None
    number: int = 0

    @classmethod
    def fresh(cls, *, namespace: str, partitions: int) -> Manifest:
        """That of a backup which holds nothing yet."""
        return cls(namespace, partitions, segments={topic: [[] for _ in range(partitions)] for topic in TOPICS})

    def end(self, topic: str, partition: int) -> int:
        """The offset after the last record that the backup has."""
        there = self.segments[topic][partition]
        return there[-1].last + 1 if there else 0

    @property
    def parts(self) -> list[Part]:
        """Every file but the manifest itself."""
        segments = [part for topic in TOPICS for partition in self.segments[topic] for part in partition]
        return segments + ([self.registry] if self.registry else [])

    def records(self) -> int:
        """How many records the backup has, dead letters included."""
        return sum(self.end(topic, partition) for topic in TOPICS for partition in range(self.partitions))


def load(files: Files) -> Manifest | None:
    """The manifest, or None where there is no backup. Raises BackupBroken, StoreUnavailable."""
    if not files.has(NAME):
        return None
    try:
        value = json.loads(files.read(NAME))
        if value["version"] != VERSION:
            raise BackupBroken(f"the backup was written by a newer crewmem (version {value['version']}): update this one")
        return _parsed(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupBroken(f"{NAME} cannot be read ({error!r}): make a new backup in another place") from error


def save(files: Files, manifest: Manifest) -> None:
    """Writes it, in place of the one before. Raises StoreUnavailable."""
    files.write(NAME, json.dumps({"version": VERSION} | asdict(manifest), indent=1).encode())


def part_of(name: str, data: bytes, *, first: int = 0, last: int = 0) -> Part:
    """What the manifest says of a file that holds `data`."""
    return Part(name, hashlib.sha256(data).hexdigest(), len(data), first, last)


def checked(files: Files, part: Part) -> bytes:
    """The file's bytes. Raises BackupBroken when they are not what the manifest says; StoreUnavailable."""
    if not files.has(part.name):
        raise BackupBroken(f"{part.name} is missing")
    data = files.read(part.name)
    if len(data) != part.size or hashlib.sha256(data).hexdigest() != part.sha256:
        raise BackupBroken(f"{part.name} is not what the manifest says: it was cut off or changed")
    return data


def _parsed(value: dict[str, Any]) -> Manifest:
    segments = {topic: [[Part(**one) for one in partition] for partition in value["segments"][topic]] for topic in TOPICS}
    registry = Part(**value["registry"]) if value["registry"] else None
    return Manifest(value["namespace"], value["partitions"], value["created_at"], segments, registry, value["number"])
