"""Events and records for tests that put something on a log and look at what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from crewmem_producers.codec import encode
from crewmem_producers.events import Event, MemoryRemembered, RulesApplied
from crewmem_producers.log import Record
from crewmem_producers.names import Scope

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def content_of(number: int) -> str:
    """What `remembered(number)` says."""
    return f"Fact{number}a about subject{number}b measured as value{number}c on place{number}d."


def remembered(number: int, *, session: str = "s", tenant: str = "default", content: str | None = None) -> Event:
    """A memory that shares hardly a word with another number's, so that none is a duplicate."""
    return Event(
        body=MemoryRemembered(content=content or content_of(number)),
        scope=Scope.of(tenant, session),
        id=f"0190-{tenant}-{session}-{number:06d}".replace(" ", "_"),
        time=START + timedelta(seconds=number),
        source="test",
    )


def remembered_record(number: int, *, session: str = "s", tenant: str = "default", content: str | None = None) -> Record:
    return encode(remembered(number, session=session, tenant=tenant, content=content))


def rules_record(text: str, *, number: int = 0, partition: int = 0) -> Record:
    """What `crewmem rules apply` appends to one partition."""
    import hashlib

    body = RulesApplied(rules=text, sha256=hashlib.sha256(text.encode()).hexdigest())
    event = Event(body=body, scope=None, id=f"rules-{number}-{partition}", time=START + timedelta(days=number), source="test")
    return encode(event, partition=partition)
