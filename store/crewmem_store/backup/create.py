"""Creating a backup, or adding to it what the log got since."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from crewmem_producers.codec import format_time
from crewmem_producers.events import utc_now
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import record_at
from crewmem_producers.registry import Registry

from crewmem_store.backup import manifest as manifests
from crewmem_store.backup import segments
from crewmem_store.backup.deployment import Deployment
from crewmem_store.backup.manifest import EVENTS, LETTERS, Manifest, Show
from crewmem_store.errors import BackupRefused
from crewmem_store.files import Files

READ_RECORDS = 500
SEGMENT_BYTES = 16 * 1024 * 1024
"""Bytes of bodies after which a segment ends."""

SEGMENT_WRITTEN, REGISTRY_WRITTEN, MANIFEST_WRITTEN = "segment_written", "registry_written", "manifest_written"
STEPS = (SEGMENT_WRITTEN, REGISTRY_WRITTEN, MANIFEST_WRITTEN)
"""A crash test stops a process at each of them; the next run completes what it left."""


async def create(
    files: Files,
    deployment: Deployment,
    *,
    show: Show = lambda what, done, total: None,
    checkpoint: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Adds what is not in the backup yet, then the registry as it is now, then the manifest that names them.

    One at a time for one place. Raises BackupRefused (another log's backup, or a log that lost records), BackupBroken,
    LogUnavailable, RegistryUnavailable, StoreUnavailable.
    """
    log, registry, namespace = deployment.log, deployment.registry, deployment.namespace
    found = await asyncio.to_thread(manifests.load, files) or Manifest.fresh(namespace=namespace, partitions=log.partitions)
    if (found.namespace, found.partitions) != (namespace, log.partitions):
        raise BackupRefused(
            f"there is a backup of namespace {found.namespace} with {found.partitions} partitions: choose another place"
        )
    for topic, source in ((EVENTS, log), (LETTERS, deployment.letters)):
        ends, firsts = await source.end(), await source.first()
        for partition in range(found.partitions):
            at = found.end(topic, partition)
            await _check_same_log(files, found, topic, partition, source, first=firsts[partition], end=ends[partition])
            await _add(files, found, topic, partition, source, at, ends[partition], show, checkpoint)
    # After the records: every data key was put before the first record that it seals.
    await registry.refresh()
    await asyncio.to_thread(_save_registry, files, found, registry)
    checkpoint(REGISTRY_WRITTEN)
    found.created_at = format_time(utc_now())
    await asyncio.to_thread(manifests.save, files, found)
    checkpoint(MANIFEST_WRITTEN)
    await asyncio.to_thread(_drop_old_registries, files, found)
    return found


async def _check_same_log(
    files: Files, found: Manifest, topic: str, partition: int, log: EventLog, *, first: int, end: int
) -> None:
    at = found.end(topic, partition)
    place = f"{topic} {partition}"
    if first > at:
        warning = f". This backup ends at {at} and holds what is nowhere else: keep this backup" if found.created_at else ""
        raise BackupRefused(
            f"the log of {place} begins at {first}: what lay before was deleted, and no backup can be made of what is left, "
            "since memory is computed from a log's first record on. `crewmem topics create` names the setting that is wrong"
            + warning
        )
    if not at:
        return
    last = found.segments[topic][partition][-1]
    data = await asyncio.to_thread(manifests.checked, files, last)
    kept = segments.unpack(data, partition=partition, name=last.name)[-1]
    there = await record_at(log, Position(partition, kept.offset)) if end > kept.offset else None
    if there is None or there.crc != kept.crc:
        raise BackupRefused(
            f"the log of {place} is not the one that was backed up (it was wiped, shortened or refilled before {at}): "
            "restore the backup, or choose another place for a new one"
        )


async def _add(
    files: Files, found: Manifest, topic: str, partition: int, log: EventLog, at: int, end: int, show: Show,
    checkpoint: Callable[[str], None],
) -> None:  # fmt: skip
    while at < end:
        records: list[LoggedRecord] = []
        while at < end and sum(len(record.value or b"") for record in records) < SEGMENT_BYTES:
            read = [record for record in await log.read(partition, at, limit=READ_RECORDS) if record.offset < end]
            if not read:
                raise BackupRefused(
                    f"the log of {topic} {partition} gives nothing at {at} although it ends at {end}: `crewmem doctor` checks "
                    "the broker"
                )
            records += read
            at = read[-1].offset + 1
            show(f"{topic} {partition}", at, end)
        await asyncio.to_thread(_save_segment, files, found, topic, partition, records)
        checkpoint(SEGMENT_WRITTEN)


def _save_segment(files: Files, found: Manifest, topic: str, partition: int, records: list[LoggedRecord]) -> None:
    data = segments.pack(records)
    first, last = records[0].offset, records[-1].offset
    name = f"{topic}/{partition:02d}/{first:020d}.seg"
    files.write(name, data)
    found.segments[topic][partition].append(manifests.part_of(name, data, first=first, last=last))


def _save_registry(files: Files, found: Manifest, registry: Registry) -> None:
    found.number += 1
    name = f"registry-{found.number:06d}.json"
    data = json.dumps(registry.items(""), sort_keys=True).encode()
    files.write(name, data)
    found.registry = manifests.part_of(name, data)


def _drop_old_registries(files: Files, found: Manifest) -> None:
    """An older one holds data keys that were erased since."""
    kept = found.registry.name if found.registry else ""
    for file in files.listing():
        if file.name.startswith("registry-") and file.name != kept:
            files.delete(file.name)
