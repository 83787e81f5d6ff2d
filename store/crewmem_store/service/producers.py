"""Which crew hosts publish, as their relays report it: registry records `producer/<tenant>/<key>/<source>`.

A key that may write chooses its sources, so a report belongs to the key that sent it, and the number of hosts is bounded: for
each key and in all. Past a bound a host that is silent makes room; where none is, the new one is not noted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from crewmem_producers import producer_report
from crewmem_producers.display import display_name
from crewmem_producers.errors import CrewmemError
from crewmem_producers.registry import Registry, Value, was_seen

from crewmem_store.keys import Key

logger = logging.getLogger(__name__)

EVERY = timedelta(seconds=producer_report.EVERY_SECONDS)
FORGOTTEN_AFTER = timedelta(minutes=10)
"""A host that has not reported for so long does not count as one with events waiting."""
HOSTS_OF_A_BATCH = 5
"""Sources of one batch that are noted: an outbox is of one host."""
HOSTS_OF_A_KEY = 100
HOSTS_IN_ALL = 1_000
_REPORT = re.compile(r"depth=(\d{1,12}),oldest_seconds=(\d{1,12}(?:\.\d{1,6})?),version=([\w.+-]{1,40})")


class ProducerReports:
    """Writes what relays report with their batches, one record a key and source, every 30 s at most."""

    def __init__(self, registry: Registry, *, clock: Callable[[], datetime]) -> None:
        self._registry = registry
        self._clock = clock
        self._said: set[str] = set()

    async def heard(self, header: str | None, *, sources: Collection[str], key: Key) -> None:
        """Notes the report of a batch. A header that is none is left out, and so is one that the registry does not take: the
        batch is on the log already, and the next one brings another report."""
        report = _REPORT.fullmatch(header) if header else None
        if report is None:
            if header:
                self._warn("header", "a relay sent a header that is no report (said once): %.100r", header)
            return
        depth, oldest, version = report.groups()
        now = self._clock()
        for source in sorted({display_name(source) for source in sources} - {""})[:HOSTS_OF_A_BATCH]:
            value = producer_report.report(
                transport="http", tenant=key.tenant, depth=int(depth), oldest_seconds=float(oldest), version=version, now=now
            )
            await self._note(source, {**value, "source": source, "key": key.hash[:12]}, key=key, now=now)

    def waiting(self) -> int:
        """Events that wait in the outboxes of all hosts that have reported lately."""
        after = self._clock() - FORGOTTEN_AFTER
        reports = producer_report.reports(self._registry).values()
        return sum(int(value["depth"]) for value in reports if was_seen(value, after=after))

    async def _note(self, source: str, value: Value, *, key: Key, now: datetime) -> None:
        of_key = f"{producer_report.PREFIX}{key.tenant}/{key.hash[:12]}/"
        name = f"{of_key}{source}"
        before = self._registry.get(name)
        if before is not None and was_seen(before, after=now - EVERY):
            return
        try:
            if before is None and not await self._has_room(of_key, now):
                self._warn(of_key, "key %r reports more than %d hosts: others are not noted", key.name, HOSTS_OF_A_KEY)
                return
            await self._registry.put(name, value)
        except CrewmemError as error:
            self._warn("registry", "what relays report is not kept, and their hosts are not shown: %s", error)
        else:
            self._said.discard("registry")

    async def _has_room(self, of_key: str, now: datetime) -> bool:
        """Whether one more host of the key may be noted; takes away the silent one that it replaces."""
        for prefix, most in ((of_key, HOSTS_OF_A_KEY), (producer_report.PREFIX, HOSTS_IN_ALL)):
            hosts = self._registry.items(prefix)
            if len(hosts) < most:
                continue
            oldest = min(hosts, key=lambda name: str(hosts[name].get("seen_at")))
            if was_seen(hosts[oldest], after=now - FORGOTTEN_AFTER):
                return False
            await self._registry.remove(oldest)
        return True

    def _warn(self, what: str, message: str, *said: object) -> None:
        """Once each: a caller decides how often it happens."""
        if what not in self._said:
            logger.warning(message, *said)
        self._said.add(what)
