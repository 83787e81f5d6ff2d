"""How far a generation is behind the log, in one partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from crewmem_producers.log import EventLog


@dataclass(frozen=True, slots=True)
class Lag:
    """`records` counts the offsets that are still to be processed; the first of them is `oldest_seconds` old."""

    records: int
    oldest_seconds: float


async def lag(log: EventLog, partition: int, *, position: int, end: int, now: datetime) -> Lag:
    """What lies from `position` to before `end` (`now` is aware). Raises LogUnavailable.

    Nothing waits where the log has no record there: Kafka leaves out offsets of its own, also the last ones.
    """
    waiting = await log.read(partition, position, limit=1) if position < end else []
    if not waiting:
        return Lag(0, 0.0)
    return Lag(end - position, max(now.timestamp() - waiting[0].timestamp_ms / 1000, 0.0))
