"""One event onto the log, for the calls that make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.freshness import Mark, format_token
from crewmem_producers.log import Position, Record

from crewmem_store.keys import Key
from crewmem_store.service.connected import finished
from crewmem_store.service.parts import Parts


@dataclass(frozen=True, slots=True)
class Published:
    """An event that the log has acknowledged, and where."""

    event: Event
    mark: Mark

    @property
    def token(self) -> str:
        """What a later recall hands in as `after`."""
        return format_token([self.mark])


async def publish(parts: Parts, event: Event, *, key: Key) -> Published:
    """Returns once the log has it durably, sealed where there is a master key, with `key` as its writer. Raises Unavailable,
    EventTooLarge."""
    event = replace(event, writer=key.writer)
    [position] = await append(parts, [await parts.intake.run(key, partial(encode, event))])
    return Published(event, Mark(position.partition, offset=position.offset))


async def append(parts: Parts, records: Sequence[Record]) -> list[Position]:
    """Records onto the log, sealed where there is a master key. Raises Unavailable, EventTooLarge."""
    return await finished(_append(parts, records))


async def _append(parts: Parts, records: Sequence[Record]) -> list[Position]:
    return await parts.log.append(records if parts.sealer is None else await parts.sealer.seal(records))
