"""Consumes a generation in this process while nobody else does: a replay needs no consumer, and hinders none."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from crewmem_producers.settings import ConsumerSettings
from crewmem_store.generations import Generation

from crewmem_consumers.consumer import Consumer
from crewmem_consumers.errors import ConsumerRunning
from crewmem_consumers.health import Health
from crewmem_consumers.opening import Collaborators, only_consumer
from crewmem_consumers.steps import Checkpoint

log = logging.getLogger("crewmem.replay")

LOOK_SECONDS = 2.0
"""How often it is looked whether anybody consumes."""
JOIN_SECONDS = 10.0
"""Consumers that run are given so long to take up a new generation before this process begins to do it for them."""


class StandIn:
    """Ask `look` again and again; once it consumes, it goes on until it is left. Its ledger is its position."""

    def __init__(
        self, settings: ConsumerSettings, *, parts: Collaborators, generation: Generation, old: Generation | None,
        checkpoint: Checkpoint,
    ) -> None:  # fmt: skip
        # A static membership is that of the consumer that is configured with it.
        self._settings = settings.model_copy(update={"group_instance_id": None})
        self._parts = parts
        self._generation = generation
        self._old = old
        self._checkpoint = checkpoint
        self.health = Health()
        self._held = AsyncExitStack()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._look_at, self._join_until = loop.time(), loop.time() + JOIN_SECONDS

    async def __aenter__(self) -> StandIn:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop.set()
        try:
            if self._task is not None:
                await asyncio.wait([self._task])
        finally:
            await self._held.aclose()

    @property
    def consumes(self) -> bool:
        """Whether this process does the work."""
        return self._task is not None

    @property
    def waits_for(self) -> str | None:
        """What its work waits for just now."""
        said = [away.says for status in self.health.partitions.values() for away in status.waits.values()]
        return "; ".join(dict.fromkeys(said)) or None

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

    async def _is_wanted(self, now: float) -> bool:
        if self._settings.kafka_bootstrap is None:
            try:
                self._held.enter_context(only_consumer(self._settings))
            except ConsumerRunning:
                return False
            return True
        from crewmem_consumers.group import members

        if await members(self._settings, self._generation.name):
            return False
        joining = now < self._join_until and self._old is not None and await members(self._settings, self._old.name)
        return not joining

    async def _consume(self) -> None:
        name = self._generation.name
        async with Consumer(
            self._settings, parts=self._parts, health=self.health, checkpoint=self._checkpoint, only=name
        ) as consumer:
            await consumer.follow(self._stop)
