"""Reading a whole backup: hashes, order, and that nothing ends short."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import SessionForgotten
from crewmem_producers.log import LoggedRecord

from crewmem_store.backup import manifest as manifests
from crewmem_store.backup import segments
from crewmem_store.backup.manifest import EVENTS, TOPICS, Manifest, Part, Show
from crewmem_store.errors import BackupBroken
from crewmem_store.files import Files


@dataclass(slots=True)
class Verified:
    """What a backup holds.

    `forgotten` has (record key, event id) of each `session.forgotten` on its log, `erased_keys` the data keys that they name.
    """

    manifest: Manifest
    records: int = 0
    registry: dict[str, dict[str, Any]] = field(default_factory=dict)
    forgotten: set[tuple[str, str]] = field(default_factory=set)
    erased_keys: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def verify(files: Files, *, show: Show = lambda what, done, total: None) -> Verified:
    """Reads everything and names what is wrong. Raises BackupBroken where there is no manifest; StoreUnavailable."""
    manifest = manifests.load(files)
    if manifest is None:
        raise BackupBroken("there is no backup here (no manifest.json): `crewmem backup create` makes one")
    found = Verified(manifest)
    total = sum(len(partition) for topic in TOPICS for partition in manifest.segments[topic])
    done = 0
    for topic in TOPICS:
        for partition, parts in enumerate(manifest.segments[topic]):
            at = 0
            for part in parts:
                at = _segment(files, found, topic, partition, part, at)
                done += 1
                show("reading the backup", done, total)
    _registry(files, found)
    return found


def records_of(files: Files, part: Part, partition: int) -> list[LoggedRecord]:
    """A segment's records. Raises BackupBroken, StoreUnavailable."""
    return segments.unpack(manifests.checked(files, part), partition=partition, name=part.name)


def _segment(files: Files, found: Verified, topic: str, partition: int, part: Part, at: int) -> int:
    """Checks one segment that should begin at `at`; gives the offset at which the next one should."""
    if part.first != at:
        found.problems.append(f"{topic} {partition}: records {at} to {part.first - 1} are missing")
    try:
        records = records_of(files, part, partition)
    except BackupBroken as error:
        found.problems.append(str(error))
        return part.last + 1
    offsets = [record.offset for record in records]
    if offsets != list(range(part.first, part.last + 1)):
        found.problems.append(f"{part.name} does not hold every record from {part.first} to {part.last}")
    found.records += len(records)
    if topic == EVENTS:
        for record in records:
            _forgotten(found, record)
    return part.last + 1


def _registry(files: Files, found: Verified) -> None:
    if found.manifest.registry is None:
        found.problems.append("the registry is missing")
        return
    try:
        found.registry = json.loads(manifests.checked(files, found.manifest.registry))
    except (BackupBroken, ValueError) as error:
        found.problems.append(str(error))


def _forgotten(found: Verified, record: LoggedRecord) -> None:
    if record.header("ce_type") != SessionForgotten.type:
        return
    try:
        event = codec.decode(record)
    except InvalidEvent:  # a dead letter: nobody was forgotten by it
        return
    if isinstance(event.body, SessionForgotten):
        found.forgotten.add((record.scope_key, event.id))
        found.erased_keys |= set(event.body.erased_keys)
