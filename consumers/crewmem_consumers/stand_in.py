"""Consumes a generation in this process while nobody else does: a replay needs no consumer, and hinders none.

On one machine it does so from the start, also beside a consumer that serves: then no question waits for its work.
"""

from __future__ import annotations

import asyncio
import logging

from crewmem_producers.settings import ConsumerSettings
from crewmem_store.generations import Generation

from crewmem_consumers.consumer import Consumer
from crewmem_consumers.health import Health
from crewmem_consumers.opening import Collaborators
from crewmem_consumers.steps import Checkpoint
from crewmem_consumers.writing_rights import WritingRights

log = logging.getLogger("crewmem.replay")

LOOK_SECONDS = 2.0
"""How often it is looked whether anybody consumes."""
JOIN_SECONDS = 10.0
"""Consumers that run are given so long to take up a new generation before this process begins to do it for them."""


class StandIn:
    """Ask `look` again and again; once it consumes, it goes on until it is left. Its ledger is its position."""

    def __init__(
        self, settings: ConsumerSettings, *, parts: Collaborators, rights: WritingRights, generation: Generation,
        old: Generation | None, checkpoint: Checkpoint,
    ) -> None:  # fmt: skip
        # A static membership is that of the consumer that is configured with it.
        self._settings = settings.model_copy(update={"group_instance_id": None})
        self._parts = parts
        self._rights = rights
        self._generation = generation
        self._old = old
        self._checkpoint = checkpoint
        self.health = Health()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._look_at, self._join_until = loop.time(), loop.time() + JOIN_SECONDS

    async def __aenter__(self) -> StandIn:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._end()

    @property
    def consumes(self) -> bool:
        """Whether this process does the work."""
        return self._task is not None

    @property
    def waits_for(self) -> str | None:
        """What its work waits for just now."""
        said = [away.says for status in self.health.partitions.values() for away in status.waits.values()]
        return "; ".join(dict.fromkeys(said)) or None

    @property
    def damaged(self) -> dict[int, str]:
        """Partition -> what is damaged of the generation, as far as this process has met it."""
        return {partition: status.damaged for (_, partition), status in self.health.partitions.items() if status.damaged}

    async def look(self) -> None:
        """Begins to consume when nobody does. Raises what forbids this process to go on with it: StoreRefused, LogRefused."""
        if self._task is not None:
            if self._task.done():
                self._task.result()
            return
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if await self._is_wanted(now):
            log.info("no consumer works on %s: this process does", self._generation.name)
            self._task = asyncio.create_task(self._consume())

    async def leave(self) -> bool:
        """Leaves the generation to the consumer that serves on this machine, if one does, and says whether that has yet to
        take it over. With none, and on Kafka, this process goes on."""
        if self._old is None or not self._rights.is_elsewhere(self._old.name):
            return False
        await self._end()
        return not self._rights.is_elsewhere(self._generation.name)

    async def _end(self) -> None:
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._task = None
        self._rights.give_back(self._generation.name)
        self._stop.clear()

    async def _is_wanted(self, now: float) -> bool:
        if self._settings.kafka_bootstrap is None:
            return self._rights.take(self._generation.name)
        from crewmem_consumers.group import members

        if await members(self._settings, self._generation.name):
            return False
        joining = now < self._join_until and self._old is not None and await members(self._settings, self._old.name)
        return not joining

    async def _consume(self) -> None:
        name = self._generation.name
        async with Consumer(
            self._settings, parts=self._parts, rights=self._rights, health=self.health, checkpoint=self._checkpoint, only=name
        ) as consumer:
            await consumer.follow(self._stop)
