"""What `crewmem doctor` says of consumers: how far they are, what stands still, and whether anything owns it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crewmem_producers.errors import CrewmemError
from crewmem_producers.events import utc_now
from crewmem_producers.log import EventLog
from crewmem_producers.settings import ServiceSettings

from crewmem.cli.checks import Finding, State, failed
from crewmem.cli.console import counted

if TYPE_CHECKING:
    from crewmem_store.generations import Generation
    from crewmem_store.store import Store

START = "start one: `crewmem up`, or `crewmem consume` where there is a broker"
BEHIND_SECONDS = 60
LOOK_SECONDS = 5.0
"""Between two looks at partitions that are behind: a consumer at work commits every few seconds."""


async def consumer(settings: ServiceSettings, log: EventLog, store: Store, generation: Generation) -> Finding:
    """Say whether the generation that answers keeps up. Partitions that are behind are looked at twice: one that moves only
    needs time."""
    try:
        before = await _behind(log, store, generation)
        if before.late:
            await asyncio.sleep(LOOK_SECONDS)
        after = await _behind(log, store, generation) if before.late else before
        still = sorted(p for p in after.late if after.positions[p] == before.positions[p])
        unowned = await _unowned(settings, generation, still)
    except CrewmemError as error:
        return failed("consumer", error)
    if not after.late:
        return Finding("consumer", State.OK, after.said)
    if not still:
        remedy = "it moves: wait, or start more consumers; `/health/ready` of each shows its partitions"
        return Finding("consumer", State.WARN, after.said, remedy)
    return Finding("consumer", State.FAIL, f"{after.said}; {_stands_still(still)}", _remedy(unowned))


@dataclass(frozen=True, slots=True)
class _Behind:
    """How far a generation is: `late` are the partitions whose first record waits for longer than is usual."""

    said: str
    positions: dict[int, int]
    late: frozenset[int]


async def _behind(log: EventLog, store: Store, generation: Generation) -> _Behind:
    from crewmem_store.service.progress import measure

    measured = await measure(log, store.reader(generation.name), now=utc_now())
    lag = sum(partition.lag for partition in measured)
    oldest = max((partition.oldest_unprocessed_seconds for partition in measured), default=0.0)
    said = f"{counted(lag, 'record')} to do" + (f", the oldest for {oldest:.0f} s" if lag else "")
    late = frozenset(one.partition for one in measured if one.lag and one.oldest_unprocessed_seconds > BEHIND_SECONDS)
    return _Behind(said, {one.partition: one.log_end - one.lag for one in measured}, late)


async def _unowned(settings: ServiceSettings, generation: Generation, partitions: Sequence[int]) -> list[int] | None:
    """Those of them that no consumer of the group owns; None where no group shares the work out."""
    if not settings.kafka_bootstrap or not partitions:
        return None
    from crewmem_consumers.group import owned

    taken = await owned(settings, generation.name)
    return [p for p in partitions if p not in taken]


def _stands_still(partitions: Sequence[int]) -> str:
    word = "partition" if len(partitions) == 1 else "partitions"
    return f"{word} {', '.join(map(str, partitions))} did not move for {LOOK_SECONDS:g} s"


def _remedy(unowned: Sequence[int] | None) -> str:
    if unowned is None:
        return f"no consumer works on it: {START}"
    if unowned:
        named = ", ".join(map(str, unowned))
        return (
            f"no consumer owns {named}: {START}; with consumers that run, their group is still settling: look again in a minute"
        )
    return (
        "a consumer owns each of them: `/health/ready` of the consumers says what it waits for; one that waits for nothing is "
        "`stalled` after 300 s there: restart it, and report it with its log"
    )
