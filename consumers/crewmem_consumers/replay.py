"""Memory built anew from the log into a new generation, while the old one serves; then every reader is switched to it.

On Kafka the consumers that run take the generation up by themselves; where none does, and on one machine, this process
consumes. Whoever does it: the new generation's ledger is its position, so what is interrupted goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar, Unpack

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.codec import format_time
from crewmem_producers.errors import Unavailable
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations, switch
from crewmem_store.errors import StoreRefused
from crewmem_store.store import StoreReader

from crewmem_consumers.metrics import Metrics
from crewmem_consumers.opening import Collaborators, Given, opened
from crewmem_consumers.replay_plan import Plan, plan
from crewmem_consumers.stand_in import StandIn
from crewmem_consumers.steps import Checkpoint, no_checkpoint
from crewmem_consumers.writing_rights import WritingRights

T = TypeVar("T")

LOOK_SECONDS = 0.25
"""How often it is looked how far the new generation is."""
AWAY_SECONDS = 1.0
"""How often it is tried whether what was away is back."""
CLOSE_SECONDS = 2.0
"""The new generation follows closely when it reaches the position that the old one has within so long."""
TAKE_OVER = "for the consumer that runs to take it over"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: records over all partitions. `total` grows with the log. `here`: this process consumes.
    `waits_for` says what is away just now, or who has yet to take the generation over."""

    generation: str
    done: int
    total: int
    here: bool
    waits_for: str | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay left: `records` of the log and their outcomes in the new generation, which answers now if it is
    `activated`, in place of `replaced`. Of the vectors that this process needed the model made `embedded`, and `reused`
    came from another generation; consumers that did the work count theirs in their metrics."""

    generation: str
    replaced: str | None
    activated: bool
    records: int
    outcomes: dict[str, int]
    embedded: int
    reused: int


async def replay(
    settings: ConsumerSettings,
    *,
    move_to: str | None = None,
    since: datetime | None = None,
    activate: bool = True,
    accept_loss: bool = False,
    progress: Callable[[Progress], None] = lambda progress: None,
    checkpoint: Checkpoint = no_checkpoint,
    wait: BrokerWait = NO_WAIT,
    **given: Unpack[Given],
) -> Replayed:
    """Builds a generation from the log, with the newest rules, until it is where the old one is; then activates it.

    The embedder is that of the generation that answers, unless it is to `move_to` the one of another name. Events whose own
    time is before `since` are dropped by rule `since`. Cancel it to stop: it goes on where it was when it is called again,
    also after a crash. `progress` is called with each look; what is away once it has begun is waited for, and before that
    brokers are, as long as `wait` says.

    Memories whose records the log no longer has are lost with `accept_loss`; without it LogShortened says what they are.

    Raises LogShortened, TooManyGenerations, GenerationBehind, StoreRefused, what opening raises, and Unavailable.
    """
    async with opened(settings, wait=wait, **given) as parts:
        embedder = given.get("embedder")
        rights = WritingRights.of(settings)
        planned = await wait.until_answered(
            plan,
            parts,
            rights=rights,
            wanted=move_to or (embedder.name if embedder else None),
            default=settings.embedder,
            since=format_time(since) if since else None,
            accept_loss=accept_loss,
            checkpoint=checkpoint,
        )
        async with StandIn(
            settings, parts=parts, rights=rights, generation=planned.new, old=planned.old, checkpoint=checkpoint
        ) as stand_in:
            reader = parts.store.reader(planned.new.name)
            catch_up = _CatchUp(planned, parts=parts, stand_in=stand_in, progress=progress)
            await catch_up.wait()
            await catch_up.hand_over()
            if activate:
                await catch_up.patiently(
                    lambda: switch.activate(
                        planned.new.name, log=parts.log, registry=parts.registry, store=parts.store, checkpoint=checkpoint
                    )
                )
        outcomes = await asyncio.to_thread(_outcomes, reader, planned.new.partitions)
        return _replayed(planned, outcomes, stand_in.health.metrics, activated=activate)


class _CatchUp:
    """Waits until the new generation is where the old one is, and shows how far it is."""

    def __init__(
        self, planned: Plan, *, parts: Collaborators, stand_in: StandIn, progress: Callable[[Progress], None]
    ) -> None:  # fmt: skip
        self._planned = planned
        self._parts = parts
        self._stand_in = stand_in
        self._progress = progress
        self._reader = parts.store.reader(planned.new.name)
        self._last = Progress(planned.new.name, 0, 0, here=False)

    async def wait(self) -> None:
        """Returns when the new generation holds what the log held at the start, and follows the old one closely: both are
        written batch by batch, so under load neither is ever quite where the other is."""
        await self._reached(self._planned.ends)
        loop, old = asyncio.get_running_loop(), self._planned.old
        began = float("-inf")
        while old is not None and loop.time() - began > CLOSE_SECONDS:
            began, reader = loop.time(), self._parts.store.reader(old.name)
            await self._reached(await self.patiently(partial(switch.held, self._parts.log, reader)))

    async def hand_over(self) -> None:
        """Leaves the new generation to the consumer that serves on this machine before anybody reads it, so that the switch
        finds it consumed."""
        while await self._stand_in.leave():
            self._progress(replace(self._last, here=False, waits_for=TAKE_OVER))
            await self._rest()
        await self.wait()

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`; as long as the log, the store or the registry is away it is tried again, and said so."""
        while True:
            try:
                return await work()
            except Unavailable as error:
                self._progress(replace(self._last, waits_for=str(error)))
                await asyncio.sleep(AWAY_SECONDS)

    async def _reached(self, wanted: Mapping[int, int]) -> None:
        while not await self.patiently(lambda: self._look(wanted)):
            await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        generations.named(self._parts.registry, self._planned.new.name)  # somebody may drop it

    async def _look(self, wanted: Mapping[int, int]) -> bool:
        """Shows how far it is, and says whether that is as far as wanted."""
        await self._stand_in.look()
        await self._check_new()
        log = self._parts.log
        first, ends = await log.first(), await log.end()
        at = await switch.positions(log, self._reader)
        done, total = (sum(where[p] - first[p] for p in first) for where in (at, ends))
        here, away = self._stand_in.consumes, self._stand_in.waits_for
        self._last = Progress(self._planned.new.name, min(done, total), total, here, away)
        self._progress(self._last)
        return all(at[partition] >= offset for partition, offset in wanted.items())

    async def _check_new(self) -> None:
        """Raises StoreRefused where what is built is damaged itself: it would wait for files that are gone."""
        new = self._planned.new
        damaged = await asyncio.to_thread(self._reader.damage, range(new.partitions)) or self._stand_in.damaged
        if damaged:
            raise StoreRefused(
                f"{new.name}, which is built, is damaged: {next(iter(damaged.values()))}. Let go of it first, with "
                f"`crewmem generations drop {new.name}`, then replay again"
            )


def _replayed(planned: Plan, outcomes: Counter[str], metrics: Metrics, *, activated: bool) -> Replayed:
    return Replayed(
        generation=planned.new.name,
        replaced=planned.old.name if planned.old and activated else None,
        activated=activated,
        records=outcomes.total(),
        outcomes=dict(outcomes),
        embedded=metrics.vectors_from("model"),
        reused=metrics.vectors_from("generation"),
    )


def _outcomes(reader: StoreReader, partitions: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for partition in range(partitions):
        total.update(reader.outcomes(partition))
    return total
