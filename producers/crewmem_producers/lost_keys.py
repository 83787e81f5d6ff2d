"""Data keys that records on the log name and the registry does not have: whoever reads the log waits for them, for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from crewmem_producers.data_keys import PREFIX, erased, is_damaged
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import MemoryForgotten
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import pages
from crewmem_producers.registry import Registry, Value
from crewmem_producers.sealed_body import check_key_id, key_id

Progress = Callable[[int, int], None]
"""Called with how many of how many records were looked at."""


@dataclass(frozen=True, slots=True)
class LostKey:
    """A data key, the record key of its session, and the records that it sealed: how many, and where the first one is."""

    id: str
    scope_key: str
    records: int
    partition: int
    offset: int
    time: str | None
    """`ce_time` of that first record."""
    forgets: int
    """How many of the records forget memories: given up, they have no effect on a replay."""

    @property
    def first(self) -> Position:
        """Where the first of those records is."""
        return Position(self.partition, self.offset)


async def lost_keys(
    log: EventLog, registry: Registry, *, progress: Progress = lambda done, total: None
) -> Mapping[str, LostKey]:
    """Every lost data key that a record names, by its id. Reads the whole log. Raises LogUnavailable, RegistryUnavailable."""
    firsts: dict[str, LoggedRecord] = {}
    counts: Counter[str] = Counter()
    forgets: Counter[str] = Counter()
    ends, done = await log.end(), 0
    for partition, end in ends.items():
        async for page in pages(log, partition, end=end):
            for record in page:
                if (id := key_id(record)) is not None and _is_bound(id, record):
                    counts[id] += 1
                    forgets[id] += record.header("ce_type") == MemoryForgotten.type
                    firsts.setdefault(id, record)
            done += len(page)
            progress(done, sum(ends.values()))
    # Looked at last: every data key is put before the first record that it seals.
    await registry.refresh()
    return {
        id: LostKey(id, first.scope_key, counts[id], first.partition, first.offset, first.header("ce_time"), forgets[id])
        for id, first in firsts.items()
        if is_lost(registry.get(PREFIX + id))
    }


def is_lost(value: Value | None) -> bool:
    """Whether the registry's record of a data key is not there, or is damaged."""
    return value is None or is_damaged(value)


async def give_up(registry: Registry, key: LostKey, *, now: datetime) -> None:
    """Has the key count as erased, for good: what it sealed ends as `forgotten`. Raises RegistryUnavailable."""
    await registry.put(PREFIX + key.id, erased(key.scope_key, at=now))


def _is_bound(id: str, record: LoggedRecord) -> bool:
    """Whether the id belongs to the record's session. A record with another's is a dead letter, and no key is waited for."""
    try:
        check_key_id(id, record.scope_key)
    except InvalidEvent:
        return False
    return True
