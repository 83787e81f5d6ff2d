"""The transport of a trusted deployment: the relay writes to the log itself, and its state to the registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from crewmem_producers.codec import encode, format_time
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.errors import EventTooLarge, LogRefused, TransportRefused
from crewmem_producers.events import Event, utc_now
from crewmem_producers.freshness import Mark
from crewmem_producers.log import EventLog, Record
from crewmem_producers.registry import Registry
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport import Delivered, Fate, Refused, RelayReport

REPORT_SECONDS = 30.0


class KafkaTransport:
    """Appends batches in order. Log and registry are made anew after a failed start."""

    def __init__(
        self,
        *,
        open_log: Callable[[], EventLog],
        open_registry: Callable[[], Registry],
        source: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`source` names this host in the registry (`producer/<source>`); the two factories connect nothing yet."""
        self._open_log, self._open_registry = open_log, open_registry
        self._source, self._clock = source, clock
        self._log: EventLog | None = None
        self._registry: Registry | None = None
        self._reported: float | None = None

    @classmethod
    def of(cls, settings: CrewSettings) -> KafkaTransport:
        """The transport to the log and registry that the settings name."""
        return cls(open_log=lambda: open_log(settings), open_registry=lambda: open_registry(settings), source=settings.source)

    async def send(self, events: Sequence[Event]) -> list[Fate]:
        """See `Transport.send`. An event larger than the log takes is refused; the others are appended."""
        if self._log is None:
            self._log = await _started(self._open_log())
        fates: list[Fate | None] = []
        records: list[Record] = []
        for event in events:
            try:
                records.append(encode(event))
                fates.append(None)
            except EventTooLarge as error:
                fates.append(Refused(f"{error.reason}: {error}"))
        try:
            positions = iter(await self._log.append(records))
        except LogRefused as error:
            raise TransportRefused(str(error)) from error
        return [fate or Delivered(str(Mark(*next(positions)))) for fate in fates]

    async def report(self, report: RelayReport) -> None:
        """Writes `producer/<source>` at most every 30 s: depth, oldest_seconds, version, time."""
        if self._reported is not None and self._clock() - self._reported < REPORT_SECONDS:
            return
        self._reported = self._clock()
        if self._registry is None:
            self._registry = await _started(self._open_registry())
        value = {
            "depth": report.depth,
            "oldest_seconds": report.oldest_seconds,
            "version": report.version,
            "time": format_time(utc_now()),
        }
        await self._registry.put(f"producer/{self._source}", value)

    async def close(self) -> None:
        started, self._log, self._registry = (self._log, self._registry), None, None
        for part in started:
            if part is not None:
                await part.close()


class _Startable(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None: ...


S = TypeVar("S", bound=_Startable)


async def _started(part: S) -> S:
    """The part, connected. What failed to start is closed, so that the next try begins anew."""
    try:
        await part.start()
    except LogRefused as error:
        await part.close()
        raise TransportRefused(str(error)) from error
    except BaseException:
        await part.close()
        raise
    return part
