"""The events of the log as a list: the newest that fit some filters, and what the answering generation made of each."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crewmem_producers import codec
from crewmem_producers.codec import format_time
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.log_reading import pages

if TYPE_CHECKING:
    from crewmem_store.store import StoreReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """None takes every event. `type` may leave out `crewmem.`; `since` is when the log took the event."""

    session: str | None = None
    type: str | None = None
    outcome: str | None = None
    crew: str | None = None
    since: datetime | None = None

    def take(self, one: dict[str, Any], logged_at: datetime) -> bool:
        if self.since is not None and logged_at < self.since:
            return False
        wanted = {"session": self.session, "outcome": self.outcome, "crew": self.crew}
        if any(value is not None and one[name] != value for name, value in wanted.items()):
            return False
        return self.type is None or one["type"] in (self.type, f"crewmem.{self.type}")


async def newest(
    log: EventLog, keyring: Keyring, reader: StoreReader | None, *, filters: Filters, limit: int
) -> list[dict[str, Any]]:
    """The newest `limit` events that the filters take, oldest first, as JSON: `position`, `event_id`, `type`, `logged_at`,
    `source`, `session`, `crew`, `outcome` (None: it waits). Session and crew are None where the body cannot be opened.

    Raises LogUnavailable, StoreUnavailable, RegistryUnavailable.
    """
    found: list[tuple[datetime, dict[str, Any]]] = []
    for partition in range(log.partitions):
        last: deque[tuple[datetime, dict[str, Any]]] = deque(maxlen=limit)
        async for records in pages(log, partition):
            await keyring.prepare(records)
            outcomes = await _outcomes(reader, records)
            for record in records:
                one = _told(record, keyring, outcomes.get(record.offset))
                if filters.take(one, record.logged_at):
                    last.append((record.logged_at, one))
        found += last
    found.sort(key=lambda each: each[0])
    return [one for _, one in found[-limit:]]


async def _outcomes(reader: StoreReader | None, records: list[LoggedRecord]) -> dict[int, str]:
    if reader is None:
        return {}
    first, last = records[0], records[-1]
    count = last.offset - first.offset + 1
    rows = await asyncio.to_thread(reader.ledger, first.partition, start=first.offset, limit=count)
    return {row.offset: row.outcome.value for row in rows if row.offset <= last.offset}


def _told(record: LoggedRecord, keyring: Keyring, outcome: str | None) -> dict[str, Any]:
    session, crew = _session_and_crew(record, keyring)
    return {
        "position": f"{record.partition}/{record.offset}", "event_id": record.header("ce_id"), "type": record.header("ce_type"),
        "logged_at": format_time(record.logged_at), "source": record.header("ce_source"), "session": session, "crew": crew,
        "outcome": outcome,
    }  # fmt: skip


def _session_and_crew(record: LoggedRecord, keyring: Keyring) -> tuple[str | None, str | None]:
    try:
        event = codec.decode(keyring.open(record))
    except (InvalidEvent, KeyErased, KeyMissing):
        return None, None
    return event.scope.session if event.scope else None, getattr(event.body, "crew", None)
