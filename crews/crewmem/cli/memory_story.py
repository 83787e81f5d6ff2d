"""What became of a memory since it was made."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crewmem_producers import writer
from crewmem_producers.codec import format_time
from crewmem_producers.events import SessionForgotten
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, Position
from crewmem_producers.log_reading import record_at

if TYPE_CHECKING:
    from crewmem_store.rows import LedgerRow, MemoryRow
    from crewmem_store.store import StoreReader


class MemoryStories:
    """Of one partition of one generation."""

    def __init__(
        self, log: EventLog, reader: StoreReader, keyring: Keyring, *, partition: int, now: datetime
    ) -> None:  # fmt: skip
        self._log = log
        self._reader = reader
        self._keyring = keyring
        self._partition = partition
        self._now = now

    async def of(self, id: str, entry: LedgerRow) -> dict[str, Any]:
        """The memory as it is now: its state, its text, what repeats it, and what has forgotten it.

        `entry` is its event's ledger row. Raises LogUnavailable, StoreUnavailable.
        """
        row = await asyncio.to_thread(self._reader.get, id)
        if row is None:
            return {"id": id, "state": "missing"}
        duplicates = await asyncio.to_thread(self._reader.duplicates, id)
        told = {
            "id": id, "state": self._state(row), "kind": row.kind, "key": row.key, "text": row.text, "summary": row.summary,
            "created_at": _time(row.created_at), "expires_at": _time(row.expires_at), "superseded_at": _time(row.superseded_at),
            "duplicate_of": row.duplicate_of, "writer": writer.as_json(row.writer),
            "duplicates": [{"id": one.id, "event_id": one.event_id, "offset": one.offset} for one in duplicates],
        }  # fmt: skip
        return told | {"forgotten_by": await self._forgotten_by(row, entry) if told["state"] == "forgotten" else None}

    def _state(self, row: MemoryRow) -> str:
        from crewmem_store.rows import Outcome

        if row.outcome in (Outcome.DUPLICATE, Outcome.DROPPED):
            return str(row.outcome.value)
        if row.text is None:
            return "forgotten"
        if row.superseded_at is not None:
            return "superseded"
        return "expired" if row.expires_at is not None and row.expires_at <= self._now else "current"

    async def _forgotten_by(self, row: MemoryRow, entry: LedgerRow) -> dict[str, Any] | None:
        """The first event that took it away; None where that cannot be read any more."""
        if entry.scope_key is None:
            return None
        for fact in await asyncio.to_thread(self._reader.forgets, self._partition, entry.scope_key):
            if await self._covers(fact, row, entry.scope_key):
                return {"type": fact.type, "event_id": fact.ce_id, "offset": fact.offset}
        return None

    async def _covers(self, fact: LedgerRow, row: MemoryRow, scope_key: str) -> bool:
        from crewmem_store.accounting.forgets import Forgets, read_forget

        forgets = Forgets()
        if fact.type == SessionForgotten.type and fact.created_at is not None:
            forgets.erase(scope_key, fact.offset, fact.created_at)
            return forgets.cover(scope_key, row)
        record = await record_at(self._log, Position(self._partition, fact.offset))
        if record is None:
            return False
        await self._keyring.prepare([record])
        named = read_forget(record, self._keyring)
        if named is not None:
            forgets.name(named)
        return forgets.cover(scope_key, row)


def _time(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)
