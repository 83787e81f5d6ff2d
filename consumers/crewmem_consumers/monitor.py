"""Looks at log and registry now and then: what is behind, how old it is, whether both answer, and whether the log is still the
same one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from crewmem_producers.errors import LogUnavailable, RegistryUnavailable
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_store.errors import LogMismatch
from crewmem_store.stalls import Stalls, Standing

from crewmem_consumers.health import Health, PartitionStatus
from crewmem_consumers.outage import Outage

logger = logging.getLogger("crewmem.consumer")

LOOK_SECONDS = 2.0
SHORT_LOOKS = 8
"""So many looks in a row must find the log too short: a broker that has just started may say less than it has."""


class Monitor:
    """Fills the statuses' `end` and, where nothing was read yet, the age of what waits.

    `on_mismatch(generation, error)` is told when the log ends before a position for good. A log that was away or too short may
    have been refilled meanwhile: its partitions are in doubt, and are checked against their ledgers before they go on.
    """

    def __init__(
        self, *, log: EventLog, registry: Registry, health: Health, on_mismatch: Callable[[str, LogMismatch], None],
        stalls: Stalls | None = None,
    ) -> None:  # fmt: skip
        self._log = log
        self._registry = registry
        self._health = health
        self._on_mismatch = on_mismatch
        self._outage = Outage("the consumer", logger=logger)
        self._stalls = stalls or Stalls()
        self._short: Counter[tuple[str, int]] = Counter()

    async def watch(self, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Runs until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(look_seconds)

    async def look(self) -> None:
        """One look. What is away is said in health, and by one log line, and is no error."""
        await asyncio.gather(self._look_at_log(), self._look_at_registry())

    async def _look_at_log(self) -> None:
        try:
            ends = await self._log.end()
            for status in list(self._health.partitions.values()):
                status.end = ends.get(status.partition)
                await self._find_head(status)
        except LogUnavailable as error:
            self._health.waits_for("log", error)
            self._outage.say(error)
            for status in self._health.partitions.values():
                status.in_doubt = True
            self._stalls.look({})  # what stands still now does so for a reason that is said
            return
        self._health.waits_for("log", None)
        self._outage.say(None)
        self._check_lengths()
        self._find_stalls()

    async def _look_at_registry(self) -> None:
        """Its last known state holds while it is away; whoever follows it has the log line."""
        try:
            await self._registry.refresh()
        except RegistryUnavailable as error:
            self._health.waits_for("registry", error)
        else:
            self._health.waits_for("registry", None)

    async def _find_head(self, status: PartitionStatus) -> None:
        if not status.lag or status.head_timestamp_ms is not None or status.position is None:
            return
        found = await self._log.read(status.partition, status.position, limit=1)
        if found and status.head_timestamp_ms is None:
            status.head_timestamp_ms = found[0].timestamp_ms

    def _find_stalls(self) -> None:
        """A partition that does not open stands still too; one that waits for what is away, or was refused, has said so."""
        standing = {
            place: Standing(status.position, waiting=status.lag != 0 and not status.waits and not status.refused)
            for place, status in self._health.partitions.items()
        }
        stalled = self._stalls.look(standing)
        for place, status in self._health.partitions.items():
            before, status.stalled_seconds = status.stalled_seconds, stalled.get(place)
            if before is None and status.stalled_seconds is not None:
                logger.error(
                    "%s partition %d stands still at %s of %s for %.0f s: restart this consumer, and report it with its log",
                    status.generation, status.partition, status.position, status.end, status.stalled_seconds,
                )  # fmt: skip

    def _check_lengths(self) -> None:
        for place, status in self._health.partitions.items():
            too_short = status.end is not None and status.position is not None and status.end < status.position
            status.in_doubt |= too_short
            self._short[place] = self._short[place] + 1 if too_short else 0
            if self._short[place] == SHORT_LOOKS:
                error = LogMismatch(
                    f"partition {status.partition} of the log ends at {status.end}, and {status.generation} has processed it "
                    f"up to {status.position}: the log was wiped or shortened. Restore it, or build from the log as it is "
                    "now with `crewmem replay`."
                )
                self._on_mismatch(status.generation, error)
