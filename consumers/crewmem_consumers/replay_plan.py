"""What a replay builds: a generation that was begun already, or a new one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from crewmem_producers.registry import Registry
from crewmem_store import generations, switch
from crewmem_store.errors import StoreDamaged
from crewmem_store.generations import Generation

from crewmem_consumers.errors import LogShortened, TooManyGenerations
from crewmem_consumers.log_loss import losses, memories
from crewmem_consumers.newest_rules import newest_rules, rules_by_partition
from crewmem_consumers.opening import Collaborators
from crewmem_consumers.partition_log import PartitionLog
from crewmem_consumers.split import SPLITTER
from crewmem_consumers.steps import GENERATION_SAVED, NAME_CLAIMED, PLANNED, Checkpoint
from crewmem_consumers.writing_rights import WritingRights

log = logging.getLogger("crewmem.replay")

SAVE_SECONDS = 10.0
"""So long after a name was claimed its generation is in the registry, or whoever claimed it has died."""
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """`old` answers recalls now (None: nothing does), `new` is built. `ends` is where the log ended when it was asked."""

    old: Generation | None
    new: Generation
    ends: Mapping[int, int]


async def plan(
    parts: Collaborators, *, rights: WritingRights, wanted: str | None, default: str, since: str | None,
    checkpoint: Checkpoint, accept_loss: bool = False,
) -> Plan:  # fmt: skip
    """Goes on with the newest generation when it is the unfinished one of a replay of the same making; else adds one. Of
    several that plan at once one adds it, and the others go on with it. Who adds it takes the right to write it before
    anybody else can see that it is there.

    The embedder is the one of the name `wanted`, else that of the generation that answers, else the `default`.
    Raises TooManyGenerations, EmbedderUnavailable, Unavailable, and LogShortened where the generation that answers was made
    from records that the log no longer has, unless the loss is accepted.
    """
    taken: set[str] = await _left_over(parts)
    while True:
        await parts.registry.refresh()
        planned = await _planned(parts, wanted=wanted, default=default, since=since, taken=taken)
        if planned.old is not None:
            await _refuse_loss(parts, planned.old, accept_loss=accept_loss)
        name = planned.new.name
        checkpoint(PLANNED)
        if planned.new in generations.live(parts.registry):
            return planned
        if await generations.claim(parts.registry, name):
            checkpoint(NAME_CLAIMED)
            rights.take(name)
            await generations.save(parts.registry, planned.new)
            checkpoint(GENERATION_SAVED)
            return planned
        if not await _was_saved(parts.registry, name):
            taken.add(name)  # whoever claimed it has died


async def _planned(
    parts: Collaborators, *, wanted: str | None, default: str, since: str | None, taken: Collection[str]
) -> Plan:
    first, ends = await parts.log.first(), await parts.log.end()
    old = generations.active_or_none(parts.registry)
    rules = await _rules(parts, old, first=first, ends=ends)
    made = Generation(
        name=generations.next_name(parts.registry, taken=taken),
        **await _embedder(parts, old, wanted, default),
        partitions=parts.log.partitions,
        splitter=SPLITTER,
        rules=rules,
        rules_until={str(partition): end for partition, end in ends.items()} if rules else {},
        since=since,
    )
    live = generations.live(parts.registry)
    if live and await _is_unfinished(live[-1], made, parts, old):
        return Plan(old, live[-1], ends)
    if len(live) >= generations.MAX_LIVE:
        spare = " or ".join(one.name for one in live if old is None or one.name != old.name)
        raise TooManyGenerations(
            f"{len(live)} generations are live, which is the most: let go of {spare} first, with `crewmem generations drop`"
        )
    return Plan(old, made, ends)


async def _refuse_loss(parts: Collaborators, old: Generation, *, accept_loss: bool) -> None:
    if not await _fits(old, parts):
        return  # another log, or one that was wiped: a consumer refuses it, and a replay is the way out
    partitions = min(old.partitions, parts.log.partitions)
    try:
        lost = await losses(parts.store.reader(old.name), partitions=partitions, first=await parts.log.first())
    except StoreDamaged:  # what it was made from cannot be read, and nothing could be kept of it
        return
    if not lost:
        return
    said = f"the log no longer has what {old.name} was made from: {'; '.join(map(str, lost))}"
    if not accept_loss:
        raise LogShortened(
            f"{said}. A replay would lose the memories of {memories(lost)} events. {old.name} still answers with them. Restore "
            "the log from a backup (`crewmem backup restore`), or run the replay with --accept-loss to go on without them; and "
            "set retention.ms=-1 and retention.bytes=-1 on the topic, so that no more is lost"
        )
    log.warning("%s. This loss was accepted: the new generation is made without them", said)


async def _left_over(parts: Collaborators) -> set[str]:
    """Generations that have tables and that the registry does not know: what is left of a registry that was lost, or those of
    another log that uses this store by mistake. So nothing is built into them, and nothing is taken away."""
    await parts.registry.refresh()
    found = await asyncio.to_thread(parts.store.generations)
    unknown = {name for name in found if not generations.is_known(parts.registry, name)}
    for name in sorted(unknown):
        log.warning(
            "the store has tables of %s, which the registry does not know: if no other log uses this store, "
            "`crewmem generations drop %s` removes them", name, name,
        )  # fmt: skip
    return unknown


async def _was_saved(registry: Registry, name: str) -> bool:
    """Waits for the generation that another process is about to save; False when that does not come about."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SAVE_SECONDS
    while loop.time() < deadline:
        await registry.refresh()
        if generations.is_known(registry, name):
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


async def _is_unfinished(found: Generation, made: Generation, parts: Collaborators, old: Generation | None) -> bool:
    """Whether a replay of the same making left this one, from the log as it is."""
    return (
        (old is None or found.name != old.name)
        and not found.answered
        and _making(found) == _making(made)
        and await _fits(found, parts)
    )  # fmt: skip


async def _rules(
    parts: Collaborators, old: Generation | None, *, first: Mapping[int, int], ends: Mapping[int, int]
) -> str | None:  # fmt: skip
    """The newest rules that the log has; what the old generation has processed of it need not be read for them."""
    if old is None or old.partitions != parts.log.partitions or not await _fits(old, parts):
        return await newest_rules(parts.log, first=first, ends=ends)
    reader = parts.store.reader(old.name)
    try:
        start = await switch.positions(parts.log, reader)
        before = await rules_by_partition(reader, start)
    except StoreDamaged:  # the log alone says it
        return await newest_rules(parts.log, first=first, ends=ends)
    return await newest_rules(parts.log, first=start, ends=ends, before=before)


async def _embedder(parts: Collaborators, old: Generation | None, wanted: str | None, default: str) -> dict[str, Any]:
    """What a generation notes of its embedder. Where it stays the model is not loaded: consumers that run have it."""
    if old is not None and wanted is None:
        names = ("embedder", "embedder_fingerprint", "dimensions")
        return {name: getattr(old, name) for name in names}
    embedder = await asyncio.to_thread(parts.embedders.named, wanted or default)
    return {"embedder": embedder.name, "embedder_fingerprint": embedder.fingerprint, "dimensions": embedder.dimensions}


def _making(generation: Generation) -> tuple[object, ...]:
    return (
        generation.embedder_fingerprint, generation.partitions, generation.splitter, generation.layout_version,
        generation.rules, generation.since,
    )  # fmt: skip


async def _fits(generation: Generation, parts: Collaborators) -> bool:
    """Whether the log still holds, in each partition, the record that the generation processed last, and the store
    has its tables."""
    try:
        return await _is_of(generation, parts)
    except StoreDamaged:
        return False


async def _is_of(generation: Generation, parts: Collaborators) -> bool:
    reader = parts.store.reader(generation.name)
    if await asyncio.to_thread(reader.damage, range(generation.partitions)):
        return False
    for partition in range(generation.partitions):
        last = await asyncio.to_thread(reader.last_offset, partition)
        if last < 0:
            continue
        (entry,) = await asyncio.to_thread(reader.ledger, partition, start=last, limit=1)
        record = await PartitionLog(parts.log, partition).record_at(last)
        if record is None or record.crc != entry.crc:
            return False
    return True
