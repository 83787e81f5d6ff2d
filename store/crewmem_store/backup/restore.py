"""Restoring a backup into an empty log: the registry first, with every erasure in force, then the records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crewmem_producers import data_keys, erasing, openers
from crewmem_producers.codec import encode
from crewmem_producers.events import Event, SessionForgotten, utc_now
from crewmem_producers.log import EventLog, LoggedRecord, Position, Record
from crewmem_producers.log_reading import record_at
from crewmem_producers.registry import Registry

from crewmem_store import generations
from crewmem_store.backup.deployment import Deployment
from crewmem_store.backup.manifest import EVENTS, LETTERS, Show
from crewmem_store.backup.verify import Verified, records_of, verify
from crewmem_store.errors import BackupBroken, BackupRefused
from crewmem_store.files import Files

REGISTRY_RESTORED, SEGMENT_RESTORED, ERASURES_APPENDED = "registry_restored", "segment_restored", "erasures_appended"
STEPS = (REGISTRY_RESTORED, SEGMENT_RESTORED, ERASURES_APPENDED)
"""A crash test stops a process at each of them; the next run completes what it left."""

NOT_RESTORED = ("producer/", openers.PREFIX, generations.CLAIM)
"""What was true of a moment only."""

BATCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """`records` of the backup are on the log, each at its old position; `erased` data keys were not brought back."""

    records: int
    erased: int


async def restore(
    files: Files,
    deployment: Deployment,
    *,
    show: Show = lambda what, done, total: None,
    checkpoint: Callable[[str], None] = lambda step: None,
) -> Restored:
    """Writes nothing unless the whole backup is sound and the log is empty, or is what a run before this one left.

    Every erasure that the backup or the target's registry knows holds before the first record is there. Raises BackupBroken,
    BackupRefused, LogUnavailable, RegistryUnavailable, StoreUnavailable: run it again.
    """
    log, registry, namespace = deployment.log, deployment.registry, deployment.namespace
    found = await asyncio.to_thread(verify, files, show=show)
    if found.problems:
        raise BackupBroken("; ".join(found.problems))
    if (found.manifest.namespace, found.manifest.partitions) != (namespace, log.partitions):
        raise BackupRefused(
            f"the backup is of namespace {found.manifest.namespace} with {found.manifest.partitions} partitions; the log has "
            f"{namespace} and {log.partitions}: set CREWMEM_NAMESPACE and CREWMEM_KAFKA_PARTITIONS"
        )
    places = [
        (topic, target, n) for topic, target in ((LETTERS, deployment.letters), (EVENTS, log)) for n in range(log.partitions)
    ]
    starts = {(topic, n): await _start(files, found, topic, n, target) for topic, target, n in places}
    await registry.refresh()
    later = _known_here(registry, found)
    erased = await _restore_registry(registry, found)
    checkpoint(REGISTRY_RESTORED)
    for topic, target, partition in places:
        await _restore_partition(files, found, topic, partition, target, starts[topic, partition], show, checkpoint)
    if later:
        await log.append([encode(event) for event in later])
    checkpoint(ERASURES_APPENDED)
    return Restored(found.records, erased)


async def _start(files: Files, found: Verified, topic: str, partition: int, log: EventLog) -> int:
    """The offset from which records are wanted: what is there already must be the backup's own."""
    first, end = (await log.first())[partition], (await log.end())[partition]
    if end == 0:
        return 0
    kept_end = found.manifest.end(topic, partition)
    last = min(end, kept_end) - 1
    there = await record_at(log, Position(partition, last)) if last >= 0 else None
    kept = await asyncio.to_thread(_record_at, files, found, topic, partition, last)
    if first or there is None or kept is None or there.crc != kept.crc:
        raise BackupRefused(
            f"the log of {topic} {partition} is not empty, and what is there is not of this backup: restore into a new home "
            "or namespace, before `crewmem up`, `crewmem topics create` or a publisher writes to it"
        )
    return min(end, kept_end)


def _record_at(files: Files, found: Verified, topic: str, partition: int, offset: int) -> LoggedRecord | None:
    for part in found.manifest.segments[topic][partition]:
        if part.first <= offset <= part.last:
            return records_of(files, part, partition)[offset - part.first]
    return None


async def _restore_registry(registry: Registry, found: Verified) -> int:
    """What is erased here or there, or by an event of the log, stays erased; what the target has already is newer."""
    gone = {data_keys.PREFIX + id for id in found.erased_keys}
    gone |= {key for key, value in found.registry.items() if key.startswith(data_keys.PREFIX) and data_keys.is_erased(value)}
    for key, value in sorted(found.registry.items()):
        there = registry.get(key)
        if key.startswith(NOT_RESTORED) or not _is_of_use(key, found.registry):
            continue
        if key in gone or _is_erased_here(registry, key, value):
            if there is None or not data_keys.is_erased(there):
                made = data_keys.erased(str(value.get("scope_key")), at=utc_now())
                await registry.put(key, value if data_keys.is_erased(value) else made)
        elif there is None:
            await registry.put(key, value)
    return sum(key in found.registry for key in gone)


def _is_erased_here(registry: Registry, key: str, value: Mapping[str, Any]) -> bool:
    """Whether it is a data key that an erasure of the target names."""
    scope_key = str(value.get("scope_key"))
    return key.startswith(data_keys.PREFIX) and erasing.has_erased(registry, scope_key, key.removeprefix(data_keys.PREFIX))


def _is_of_use(key: str, registry: Mapping[str, Mapping[str, Any]]) -> bool:
    """Of the generations only the active one: its memory is computed again from the log."""
    if not key.startswith(generations.PREFIX):
        return True
    return key.removeprefix(generations.PREFIX) == registry.get(generations.ACTIVE, {}).get("generation")


def _known_here(registry: Registry, found: Verified) -> list[Event]:
    """The erasures that the target's registry knows and the backup's does not: they are put on the log again."""
    events = []
    for key, value in registry.items(erasing.PREFIX).items():
        scope_key = key.removeprefix(erasing.PREFIX)
        erasure = erasing.erasure_of(registry, scope_key)
        if erasure is None or found.registry.get(key, {}).get("event_id") == value.get("event_id"):
            continue
        body = SessionForgotten(erased_keys=list(erasure.keys))
        events.append(Event(body, None, id=erasure.event_id, time=erasure.time, source="restore", record_key=scope_key))
    return events


async def _restore_partition(
    files: Files, found: Verified, topic: str, partition: int, log: EventLog, start: int, show: Show,
    checkpoint: Callable[[str], None],
) -> None:  # fmt: skip
    end = found.manifest.end(topic, partition)
    for part in found.manifest.segments[topic][partition]:
        if part.last < start:
            continue
        records = await asyncio.to_thread(records_of, files, part, partition)
        wanted = [record for record in records if record.offset >= start]
        for batch in _batches(wanted):
            positions = await log.append([Record(r.key, r.value, r.headers, partition) for r in batch])
            if [position.offset for position in positions] != [record.offset for record in batch]:
                raise BackupRefused(f"something else writes to the log of {topic} {partition}: stop it, and use an empty one")
            show(f"{topic} {partition}", batch[-1].offset + 1, end)
        checkpoint(SEGMENT_RESTORED)


def _batches(records: list[LoggedRecord]) -> list[list[LoggedRecord]]:
    batches: list[list[LoggedRecord]] = []
    size = BATCH_BYTES
    for record in records:
        weight = len(record.value or b"") + 256
        if size + weight > BATCH_BYTES or len(batches[-1]) >= 500:
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += weight
    return batches
