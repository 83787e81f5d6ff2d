"""Restoring a backup into an empty log: the registry first, with every erasure in force, then the records, and behind them
the `session.forgotten` of every erasure that the backup's log does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crewmem_producers import data_keys, erasing
from crewmem_producers.codec import encode
from crewmem_producers.erasing import Erasure
from crewmem_producers.events import Event, SessionForgotten, utc_now
from crewmem_producers.log import EventLog, LoggedRecord, Position, Record
from crewmem_producers.log_reading import record_at
from crewmem_producers.registry import PASSING, Registry

from crewmem_store import generations
from crewmem_store.backup.deployment import Deployment
from crewmem_store.backup.manifest import EVENTS, LETTERS, Show
from crewmem_store.backup.verify import Verified, records_of, verify
from crewmem_store.errors import BackupBroken, BackupRefused
from crewmem_store.files import Files

REGISTRY_RESTORED, SEGMENT_RESTORED, ERASURES_APPENDED = "registry_restored", "segment_restored", "erasures_appended"
STEPS = (REGISTRY_RESTORED, SEGMENT_RESTORED, ERASURES_APPENDED)
"""A crash test stops a process at each of them; the next run completes what it left."""

NOT_RESTORED = (*PASSING, generations.CLAIM)
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

    Every erasure that the backup or the target's registry knows holds before the first record is there: also one that ran
    while the backup was made, so that only its registry has it, or that had not ended. Raises BackupBroken, BackupRefused,
    LogUnavailable, RegistryUnavailable, StoreUnavailable: run it again.
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
    erasures = _erasures(registry, found)
    erased = await _restore_registry(registry, found, erasures)
    checkpoint(REGISTRY_RESTORED)
    for topic, target, partition in places:
        await _restore_partition(files, found, topic, partition, target, starts[topic, partition], show, checkpoint)
    if unsaid := [erasure for erasure in erasures if (erasure.scope_key, erasure.event_id) not in found.forgotten]:
        # One that the log has behind what was backed up, or that a run before this one appended, counts once: by its id.
        await log.append([encode(_forgotten(erasure)) for erasure in unsaid])
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


def _erasures(registry: Registry, found: Verified) -> list[Erasure]:
    """Every erasure that the target or the backup knows: of a session that both have erased, both."""
    here = [erasing.parse(key, value) for key, value in registry.items(erasing.PREFIX).items()]
    kept = [erasing.parse(key, value) for key, value in found.registry.items() if key.startswith(erasing.PREFIX)]
    return here + [erasure for erasure in kept if erasure.event_id not in {known.event_id for known in here}]


async def _restore_registry(registry: Registry, found: Verified, erasures: Sequence[Erasure]) -> int:
    """What is erased here or there, or by an event of the log, stays erased; what the target has already is newer. How many
    data keys were not brought back."""
    gone = {data_keys.PREFIX + id for id in found.erased_keys}
    gone |= {key for key, value in found.registry.items() if key.startswith(data_keys.PREFIX) and data_keys.is_erased(value)}
    for erasure in erasures:
        gone |= {data_keys.PREFIX + id for id in _keys(erasure)}
        await _bury(registry, found, erasure)
    for key, value in sorted(found.registry.items()):
        there = registry.get(key)
        if key.startswith(NOT_RESTORED) or not _is_of_use(key, found.registry):
            continue
        if key in gone:
            if there is None or not data_keys.is_erased(there):
                made = data_keys.erased(str(value.get("scope_key")), at=utc_now())
                await registry.put(key, value if data_keys.is_erased(value) else made)
        elif there is None or (key.startswith(erasing.PREFIX) and _is_later(value, there)):
            await registry.put(key, value)
    return sum(key in found.registry for key in gone)


async def _bury(registry: Registry, found: Verified, erasure: Erasure) -> None:
    """Erases those of its keys of which the backup has no record, and its grave, where it had not come to that."""
    for key in sorted(data_keys.PREFIX + id for id in _keys(erasure)):
        there = registry.get(key)
        if key not in found.registry and (there is None or not data_keys.is_erased(there)):
            await registry.put(key, data_keys.erased(erasure.scope_key, at=erasure.time))


def _keys(erasure: Erasure) -> set[str]:
    return {*erasure.keys, erasure.grave}


def _is_later(value: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Of two erasures of a session: the target's registry may be an older copy than the backup's."""
    return datetime.fromisoformat(value["time"]) > datetime.fromisoformat(there["time"])


def _is_of_use(key: str, registry: Mapping[str, Mapping[str, Any]]) -> bool:
    """Of the generations only the active one: its memory is computed again from the log."""
    if not key.startswith(generations.PREFIX):
        return True
    return key.removeprefix(generations.PREFIX) == registry.get(generations.ACTIVE, {}).get("generation")


def _forgotten(erasure: Erasure) -> Event:
    body = SessionForgotten(erased_keys=sorted(_keys(erasure)))
    return Event(body, None, id=erasure.event_id, time=erasure.time, source="restore", record_key=erasure.scope_key)


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
        if size + record.size > BATCH_BYTES or len(batches[-1]) >= 500:
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += record.size
    return batches
