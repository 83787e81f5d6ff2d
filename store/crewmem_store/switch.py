"""Moving between generations: which one answers, and letting go of one. Each move is one record of the registry.

The registry knows no transactions, so each move looks again after it has written: of an activation and a drop of the same
generation at the same moment at least one gives way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry

from crewmem_store import generations
from crewmem_store.errors import GenerationBehind, GenerationInUse, StoreDamaged, UnknownGeneration
from crewmem_store.generations import Generation
from crewmem_store.store import Checkpoint, Store, StoreReader, no_checkpoint

LOOK_SECONDS = 0.1
WAIT_SECONDS = 10.0
"""How long an activation waits for the new generation to reach what the old one held when it was asked for: both are
written batch by batch, so that under load one is nearly always a moment behind the other."""

GRACE_SECONDS = 3.0
"""Between the record that drops a generation and the removal of its tables: services and consumers follow the registry
within a second or two, and what they do with the generation just then may end."""

CAUGHT_UP, ACTIVATED = "caught_up", "activated"
"""The steps of `activate`."""
MARKED, REMOVED = "drop_marked", "drop_removed"
"""The steps of `drop`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A partition in which a generation is behind: its next offset, and the one that it should have reached."""

    partition: int
    position: int
    wanted: int


async def positions(log: EventLog, reader: StoreReader) -> dict[int, int]:
    """Partition -> the offset that the generation processes next, between the log's start and its end. Raises Unavailable."""
    first, ends = await log.first(), await log.end()

    def read() -> dict[int, int]:
        return {p: min(max(reader.last_offset(p) + 1, first[p]), end) for p, end in sorted(ends.items())}

    return await asyncio.to_thread(read)


async def gaps(log: EventLog, reader: StoreReader, wanted: Mapping[int, int]) -> list[Gap]:
    """Where the generation has not reached these positions. Raises Unavailable."""
    found = await positions(log, reader)
    return [Gap(p, found[p], offset) for p, offset in sorted(wanted.items()) if found[p] < offset]


async def held(log: EventLog, reader: StoreReader) -> dict[int, int]:
    """The same of the generation that answers, for another one to reach: nothing where its ledger is damaged. Raises
    Unavailable."""
    try:
        return await positions(log, reader)
    except StoreDamaged:
        return {}


async def activate(
    name: str,
    *,
    log: EventLog,
    registry: Registry,
    store: Store,
    wait_seconds: float = WAIT_SECONDS,
    checkpoint: Checkpoint = no_checkpoint,
) -> str | None:
    """Makes the generation the one that answers; gives the name of the one that did before, None for the first.

    Raises GenerationBehind when it does not reach within `wait_seconds`, on every partition, what the active one holds
    now; UnknownGeneration; PartitionsChanged; Unavailable.
    """
    await registry.refresh()
    chosen, before = generations.named(registry, name), generations.active_or_none(registry)
    generations.check_layout(chosen, partitions=log.partitions)
    if before is not None and before.name != name:
        wanted = await held(log, store.reader(before.name))
        await _reached(log, chosen, before, store.reader(name), wanted, seconds=wait_seconds)
    checkpoint(CAUGHT_UP)
    await generations.activate(registry, name)
    checkpoint(ACTIVATED)
    await registry.refresh()
    if generations.of(registry, name).dropped:
        if before is not None:
            await generations.activate(registry, before.name)
        raise UnknownGeneration(f"{name} was dropped at the same moment; {before.name if before else 'nothing'} answers")
    return None if before is None or before.name == name else before.name


async def drop(
    name: str,
    *,
    registry: Registry,
    store: Store,
    grace_seconds: float = GRACE_SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    checkpoint: Checkpoint = no_checkpoint,
) -> None:
    """Lets go of a generation: consumers stop consuming it, then its tables are removed. One that was dropped before is
    removed again, so that an interrupted drop can be repeated.

    Each consumer removes them too, once it has stopped writing: a late one leaves nothing. Raises GenerationInUse,
    UnknownGeneration, Unavailable.
    """
    await registry.refresh()
    if not generations.is_known(registry, name) and name in await asyncio.to_thread(store.generations):
        await asyncio.to_thread(store.drop, name)  # what is left of a registry that was lost
        return
    gone = generations.of(registry, name)
    _refuse_active(registry, name)
    await generations.save(registry, replace(gone, dropped=True))
    await registry.refresh()
    try:
        _refuse_active(registry, name)  # it was activated meanwhile
    except GenerationInUse:
        await generations.save(registry, replace(generations.of(registry, name), dropped=False))
        raise
    checkpoint(MARKED)
    await sleep(grace_seconds)
    await asyncio.to_thread(store.drop, name)
    checkpoint(REMOVED)


async def _reached(
    log: EventLog, chosen: Generation, before: Generation, reader: StoreReader, wanted: Mapping[int, int], *, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while missing := await gaps(log, reader, wanted):
        if loop.time() >= deadline:
            places = ", ".join(f"{gap.partition} at {gap.position} of {gap.wanted}" for gap in missing)
            raise GenerationBehind(
                f"{chosen.name} is behind {before.name} (partition {places}): wait until a consumer, or `crewmem replay`, has "
                "brought it there, then try again"
            )
        await asyncio.sleep(LOOK_SECONDS)


def _refuse_active(registry: Registry, name: str) -> None:
    if generations.is_active(registry, name):
        raise GenerationInUse(f"{name} answers recalls: activate another one first (`crewmem generations activate`)")
