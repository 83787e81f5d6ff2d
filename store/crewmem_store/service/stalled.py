"""The partitions that stand still, as a service sees them: whichever consumer owns them, or none."""

from __future__ import annotations

from collections.abc import Mapping

from crewmem_producers.log import EventLog
from starlette.concurrency import run_in_threadpool

from crewmem_store.lag import lag
from crewmem_store.service.parts import Parts, View
from crewmem_store.stalls import Standing


async def stalled(parts: Parts, view: View, *, ends: Mapping[int, int]) -> list[int]:
    """Return the partitions of the generation that answers whose position has not moved since it was asked STALLED_SECONDS
    ago, though records wait there. `ends` are the log's, empty where it is away. Raises LogUnavailable, StoreUnavailable.

    A service knows what it has seen: it says so from its second look on, at a probe or a scrape.
    """
    positions = {p: await run_in_threadpool(view.reader.last_offset, p) + 1 for p in ends}
    standing = {(view.generation.name, p): Standing(positions[p], positions[p] < end) for p, end in ends.items()}
    found = sorted(p for _, p in parts.stalls.look(standing))
    return [p for p in found if await _waits(parts.log, p, positions, ends, parts=parts)]


async def _waits(log: EventLog, partition: int, positions: Mapping[int, int], ends: Mapping[int, int], *, parts: Parts) -> bool:
    """Whether the offsets that are left have records: Kafka leaves out some of its own."""
    behind = await lag(log, partition, position=positions[partition], end=ends[partition], now=parts.clock())
    return behind.records > 0
