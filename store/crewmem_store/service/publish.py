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
from crewmem_store.service.admission import Piece, Reservation, work_of
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


async def publish(parts: Parts, event: Event, *, key: Key, size: int, always: bool = False) -> Published:
    """Returns once the log has it durably, sealed where there is a master key, with `key` as its writer.

    `size` is that of its text, in characters; `always`: also past the tenant's share. Raises Unavailable, EventTooLarge,
    RequestRefused (429 busy).
    """
    event = replace(event, writer=key.writer)
    record = await parts.intake.run(key, partial(encode, event))
    [position] = await append(parts, [record], key=key, works=[work_of(size)], always=always)
    return Published(event, Mark(position.partition, offset=position.offset))


async def append(
    parts: Parts, records: Sequence[Record], *, key: Key, works: Sequence[int], always: bool = False
) -> list[Position]:
    """Records onto the log, all or none of them past the tenant's share; `works` says how much work each is. It is finished
    though the caller has gone. Raises Unavailable, EventTooLarge, RequestRefused (429 busy)."""
    partitions = parts.log.partitions
    pieces = [Piece(one.partition_in(partitions), work) for one, work in zip(records, works, strict=True)]
    reservation = await parts.admission.reserve(key.tenant, pieces, always=always)
    return await finished(_append(parts, records, reservation))


async def _append(parts: Parts, records: Sequence[Record], reservation: Reservation) -> list[Position]:
    try:
        positions = await parts.log.append(records if parts.sealer is None else await parts.sealer.seal(records))
    except BaseException:
        reservation.failed()
        raise
    reservation.appended(positions)
    return positions
