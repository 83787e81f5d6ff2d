"""One event onto the log, for the calls that make one."""

from __future__ import annotations

from dataclasses import dataclass

from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.freshness import Mark, format_token
from crewmem_producers.log import EventLog
from starlette.concurrency import run_in_threadpool


@dataclass(frozen=True, slots=True)
class Published:
    """An event that the log has acknowledged, and where."""

    event: Event
    mark: Mark

    @property
    def token(self) -> str:
        return format_token([self.mark])


async def publish(log: EventLog, event: Event) -> Published:
    """Returns once the log has it durably. Raises LogUnavailable, EventTooLarge."""
    record = await run_in_threadpool(encode, event)
    [position] = await log.append([record])
    return Published(event, Mark(position.partition, offset=position.offset))
