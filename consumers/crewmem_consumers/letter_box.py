"""The dead letter log, read: each letter once, however often a crash had it sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import pages
from crewmem_store.letter_states import LetterState

from crewmem_consumers.letters import CUT, PREFIX
from crewmem_consumers.redrive import Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter without its bytes: `position` is where its record lies on the events' log, `place` where the letter
    lies on its own. `time` is when the record was logged. `tenant` and `session` are None where they cannot be read;
    `sealed` says why: `erased`, or that a key is missing."""

    position: Position
    place: Position
    reason: str
    detail: str
    type: str | None
    event_id: str | None
    time: datetime
    tenant: str | None
    session: str | None
    sealed: str | None
    bytes: int
    state: LetterState = LetterState.OPEN

    @property
    def ref(self) -> Ref:
        """What a redrive or discard names it by."""
        return Ref(self.position, self.event_id)

    def age_seconds(self, now: datetime) -> float:
        """How long ago its record was logged."""
        return max(0.0, (now - self.time).total_seconds())

    def json(self, now: datetime) -> dict[str, Any]:
        """What `crewmem dlq list --json` shows of it."""
        return {
            "position": self.position._asdict(), "event_id": self.event_id,
            "type": self.type, "reason": self.reason, "detail": self.detail, "state": self.state.value,
            "tenant": self.tenant, "session": self.session, "sealed": self.sealed, "bytes": self.bytes,
            "time": codec.format_time(self.time), "age_seconds": round(self.age_seconds(now)),
        }  # fmt: skip


async def letters(log: EventLog, *, keyring: Keyring) -> AsyncIterator[Letter]:
    """Every letter of the dead letter log once, as it was sent first. Raises LogUnavailable, RegistryUnavailable."""
    seen: set[Position] = set()
    for partition in range(log.partitions):
        async for records in pages(log, partition):
            await keyring.prepare(records)
            for record in records:
                letter = read(record, keyring=keyring)
                if letter is not None and letter.position not in seen:
                    seen.add(letter.position)
                    yield letter


def read(record: LoggedRecord, *, keyring: Keyring) -> Letter | None:
    """A record of the dead letter log as a letter; None of one that names no position."""
    position = _position(record)
    if position is None:
        return None
    tenant, session, sealed = _whose(record, keyring)
    return Letter(
        position=position, place=record.position, reason=record.header(PREFIX + "reason") or "unknown",
        detail=record.header(PREFIX + "detail") or "", type=record.header("ce_type"), event_id=record.header("ce_id"),
        time=_time(record), tenant=tenant, session=session, sealed=sealed, bytes=_bytes(record),
    )  # fmt: skip


def _position(record: LoggedRecord) -> Position | None:
    return Position.parse(f"{record.header(PREFIX + 'partition')}/{record.header(PREFIX + 'offset')}")


def _time(record: LoggedRecord) -> datetime:
    try:
        return datetime.fromisoformat(record.header(PREFIX + "time") or "").astimezone(UTC)
    except ValueError:
        return record.logged_at


def _bytes(record: LoggedRecord) -> int:
    """Of the body, also of one that was left out."""
    cut = record.header(CUT) or ""
    return int(cut) if cut.isdecimal() and len(cut) < 20 else len(record.value or b"")


def _whose(record: LoggedRecord, keyring: Keyring) -> tuple[str | None, str | None, str | None]:
    """Tenant and session as the body says, as far as it can be read; the key names the tenant too."""
    tenant, _, rest = record.scope_key.partition("/")
    of_key = tenant if rest else None
    try:
        body = json.loads(codec.unpacked(keyring.open(record)))
    except KeyErased:
        return of_key, None, "erased"
    except KeyMissing as error:
        return of_key, None, str(error)
    except (InvalidEvent, ValueError, RecursionError):
        return of_key, None, None
    if not isinstance(body, dict):
        return of_key, None, None
    return _text(body.get("tenant")) or of_key, _text(body.get("session")), None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
