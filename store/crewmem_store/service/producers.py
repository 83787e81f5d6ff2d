"""Which crew hosts publish, as their relays report it: registry records `producer/<source>`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from crewmem_producers import producer_report
from crewmem_producers.errors import CrewmemError
from crewmem_producers.registry import Registry, was_seen

logger = logging.getLogger(__name__)

EVERY = timedelta(seconds=producer_report.EVERY_SECONDS)
FORGOTTEN_AFTER = timedelta(minutes=10)
"""A host that has not reported for so long does not count as one with events waiting."""
_REPORT = re.compile(r"depth=(\d{1,12}),oldest_seconds=(\d{1,12}(?:\.\d{1,6})?),version=([\w.+-]{1,40})")


class ProducerReports:
    """Writes what relays report with their batches, one record a source, every 30 s at most."""

    def __init__(self, registry: Registry, *, clock: Callable[[], datetime]) -> None:
        self._registry = registry
        self._clock = clock
        self._refused = False

    async def heard(self, header: str | None, *, sources: Collection[str], tenant: str) -> None:
        """Notes the report of a batch. A header that is none is left out, and so is one that the registry does not take: the
        batch is on the log already, and the next one brings another report."""
        report = _REPORT.fullmatch(header) if header else None
        if report is None:
            if header:
                logger.warning("a relay sent a header that is no report: %.100r", header)
            return
        depth, oldest, version = report.groups()
        now = self._clock()
        value = producer_report.report(
            transport="http", tenant=tenant, depth=int(depth), oldest_seconds=float(oldest), version=version, now=now
        )
        for source in sorted(source for source in sources if source):
            key = producer_report.key_of(source)
            if not was_seen(self._registry.get(key) or {}, after=now - EVERY):
                await self._put(key, value)

    def waiting(self) -> dict[str, int]:
        """Events that wait in the outbox of each source that has reported lately."""
        now = self._clock()
        return {
            source: int(value["depth"])
            for source, value in producer_report.reports(self._registry).items()
            if was_seen(value, after=now - FORGOTTEN_AFTER)
        }

    async def _put(self, name: str, value: dict[str, object]) -> None:
        try:
            await self._registry.put(name, value)
        except CrewmemError as error:
            if not self._refused:
                logger.warning("what relays report is not kept, and their hosts are not shown, until it is again: %s", error)
            self._refused = True
        else:
            self._refused = False
