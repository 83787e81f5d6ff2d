"""The transport of a trusted deployment: the relay writes to the log itself, and its state to the registry."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from crewmem_producers import producer_report
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, seals, write_unread
from crewmem_producers.errors import CrewmemError, EventTooLarge, LogRefused, SettingsError, TransportRefused
from crewmem_producers.events import Event, utc_now
from crewmem_producers.freshness import Mark
from crewmem_producers.kafka_noise import quiet_relay
from crewmem_producers.lazy_sealer import LazySealer
from crewmem_producers.log import EventLog, Record
from crewmem_producers.registry import Value
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport import Delivered, Fate, Refused, RelayReport
from crewmem_producers.trouble import Trouble

log = logging.getLogger(__name__)

REPORT_PATIENCE_SECONDS = 2.0
"""How long closing waits for a report that is under way."""


class KafkaTransport:
    """Appends batches in order, sealed where a master key is set. The log is opened anew after a failed start. Reports are
    written into the registry, which is read and followed only where something is to be sealed."""

    def __init__(
        self,
        *,
        open_log: Callable[[], EventLog],
        write: Callable[[str, Value], Awaitable[None]],
        source: str,
        tenant: str,
        open_sealer: Callable[[], LazySealer] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`write` puts one record into the registry, where `source` names this host (`producer/<source>`); the factories
        connect nothing yet. Without `open_sealer` events are written plain."""
        self._open_log, self._write_record = open_log, write
        self._open_sealer = open_sealer
        self._sealer: LazySealer | None = None
        self._source, self._tenant = source, tenant
        self._clock, self._now = clock, now
        self._log: EventLog | None = None
        self._reported: float | None = None
        self._reporting: asyncio.Task[None] | None = None
        self._trouble = Trouble(
            fails="the state of the outbox could not be reported to the registry",
            works="the state of the outbox is reported to the registry again",
            logger=log,
        )

    @classmethod
    def of(cls, settings: CrewSettings) -> KafkaTransport:
        """The transport to the log and registry that the settings name. The relay says itself, once, that they are away."""
        quiet_relay()
        return cls(
            open_log=lambda: open_log(settings),
            write=functools.partial(write_unread, settings),
            source=settings.source,
            tenant=settings.tenant,
            open_sealer=(lambda: LazySealer(settings)) if seals(settings) else None,
        )

    async def send(self, events: Sequence[Event]) -> list[Fate]:
        """See `Transport.send`. An event larger than the log takes is refused; the others are appended."""
        log = await self._started()
        encoded = [_record(event) for event in events]
        try:
            records = await self._sealed([one for one in encoded if isinstance(one, Record)])
            fates = iter(await _appended(log, records))
        except (LogRefused, SettingsError) as error:
            raise TransportRefused(str(error)) from error
        return [next(fates) if isinstance(one, Record) else one for one in encoded]

    async def report(self, report: RelayReport) -> None:
        """Writes `producer/<source>` at most every 30 s, beside the sending; that it fails is one warning."""
        due = self._reported is None or self._clock() - self._reported >= producer_report.EVERY_SECONDS
        if due and (self._reporting is None or self._reporting.done()):
            self._reported = self._clock()
            self._reporting = asyncio.create_task(self._write(report), name="crewmem-report")

    async def close(self) -> None:
        reporting, self._reporting = self._reporting, None
        if reporting is not None:
            await asyncio.wait([reporting], timeout=REPORT_PATIENCE_SECONDS)
            reporting.cancel()
        log, self._log = self._log, None
        if log is not None:
            await log.close()
        sealer, self._sealer = self._sealer, None
        if sealer is not None:
            await sealer.close()

    async def _sealed(self, records: Sequence[Record]) -> Sequence[Record]:
        """What goes to the log. Raises Unavailable where nothing can be sealed now: nothing is sent plain instead."""
        if self._open_sealer is None:
            return records
        if self._sealer is None:
            self._sealer = self._open_sealer()
        return await self._sealer.seal(records)

    async def _started(self) -> EventLog:
        """The log, connected. One that failed to start is closed, so that the next try begins anew."""
        if self._log is None:
            log = self._open_log()
            try:
                await log.start()
            except LogRefused as error:
                await log.close()
                raise TransportRefused(str(error)) from error
            except BaseException:
                await log.close()
                raise
            self._log = log
        return self._log

    async def _write(self, report: RelayReport) -> None:
        value = producer_report.report(
            transport="kafka", tenant=self._tenant, depth=report.depth, oldest_seconds=report.oldest_seconds,
            version=report.version, now=self._now(),
        )  # fmt: skip
        try:
            await self._write_record(producer_report.key_of(self._source), value)
        except CrewmemError as error:
            self._trouble.met(error)
        else:
            self._trouble.over()


def _record(event: Event) -> Record | Refused:
    try:
        return encode(event)
    except EventTooLarge as error:
        return Refused(f"{error.reason}: {error}")


async def _appended(log: EventLog, records: Sequence[Record]) -> list[Fate]:
    """Fates in order; a record that is too large for this broker is found by halving, so that it blocks no other."""
    if not records:
        return []
    try:
        return [Delivered(str(Mark(*position))) for position in await log.append(records)]
    except EventTooLarge as error:
        if len(records) == 1:
            return [Refused(f"{error.reason}: {error}")]
        middle = len(records) // 2
        return await _appended(log, records[:middle]) + await _appended(log, records[middle:])
