"""Memory rows of drafts: what is written of a span that reached the write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered
from crewmem_producers.names import memory_id
from crewmem_producers.privacy import is_private, private_key
from crewmem_store import effects
from crewmem_store.rows import MemoryRow, Outcome

from crewmem_consumers.draft import Draft
from crewmem_consumers.fingerprint import made_by
from crewmem_consumers.redaction import redact_name, redact_value
from crewmem_consumers.split import ERROR
from crewmem_consumers.summarise import SUMMARISER

COMPLETED = "completed"
FAILURE = "failure"
DEFAULT_TTL: Mapping[str, timedelta] = {
    "data": timedelta(days=30), FAILURE: timedelta(days=7), COMPLETED: timedelta(days=180),
}  # fmt: skip
"""How long a memory of that kind lives when neither a rule nor a remember says otherwise; other kinds live for ever."""


def kind_of(draft: Draft) -> str:
    """A remember names its own kind; of an output the rule does."""
    if isinstance(draft.event.body, MemoryRemembered):
        return redact_name(draft.event.body.kind) or "note"
    return draft.decision.keep.kind or (FAILURE if draft.span.name == ERROR else "note")


def key_of(draft: Draft) -> str | None:
    """Return the key that a remember names; of an output None. A private memory has one of its source's own, always: what is
    not private is never left out as its repeat, and the other way round."""
    body = draft.event.body
    if not isinstance(body, MemoryRemembered):
        return None
    key = redact_name(body.key)
    return private_key(body.metadata, key or draft.source_hash) if is_private(body.metadata) else key


def expires_at(draft: Draft) -> datetime | None:
    """From the event's time: a remember's own ttl, else the rule's, else the kind's; None is for ever."""
    body, keep = draft.event.body, draft.decision.keep
    ttl: timedelta | None
    try:
        if isinstance(body, MemoryRemembered) and body.ttl is not None:
            ttl = timedelta(seconds=body.ttl)
        else:
            ttl = keep.ttl if keep.sets_ttl else DEFAULT_TTL.get(kind_of(draft))
        return None if ttl is None else draft.event.time + ttl
    except OverflowError:  # beyond the year 9999
        return None


def stored(draft: Draft, *, partition: int, offset: int, embedder: str) -> MemoryRow:
    """The row of a span that becomes a memory. `embedder` is its fingerprint."""
    scope = str(draft.event.scope)
    return MemoryRow(
        id=memory_id(partition, scope, draft.event.id, draft.span.name), scope=scope, event_id=draft.event.id,
        span=draft.span.name, offset=offset, created_at=draft.event.time, kind=kind_of(draft), crew=draft.crew,
        agent_role=draft.agent_role, task_key=draft.task_key, content=draft.content, text=draft.text,
        source_hash=draft.source_hash, vector=draft.vector, expires_at=expires_at(draft), importance=_importance(draft),
        key=key_of(draft), metadata=_metadata(draft), parent=_parent(draft.event), embedder=embedder,
        summariser=SUMMARISER, made_by=made_by(draft.decision.keep), writer=draft.event.writer,
    )  # fmt: skip


def tombstone(draft: Draft, outcome: Outcome, *, partition: int, offset: int, duplicate_of: str | None = None) -> MemoryRow:
    """The row of a span that reached the write and becomes no memory."""
    scope = str(draft.event.scope)
    return MemoryRow(
        id=memory_id(partition, scope, draft.event.id, draft.span.name), scope=scope, event_id=draft.event.id,
        span=draft.span.name, offset=offset, created_at=draft.event.time, outcome=outcome, duplicate_of=duplicate_of,
        kind=kind_of(draft), crew=draft.crew, agent_role=draft.agent_role, task_key=draft.task_key,
        parent=_parent(draft.event), writer=draft.event.writer,
    )  # fmt: skip


def forgotten(event: Event, event_id: str, span: str, *, partition: int, offset: int) -> MemoryRow:
    """The tombstone of a memory that a `memory.forgotten` names before it is there."""
    scope = str(event.scope)
    return MemoryRow(
        id=memory_id(partition, scope, event_id, span), scope=scope, event_id=event_id, span=span, offset=offset,
        created_at=event.time, outcome=Outcome.FORGOTTEN,
    )  # fmt: skip


def erasure(event: Event, *, partition: int, offset: int) -> MemoryRow:
    """The marker of a `session.forgotten`: it names the session by its record key alone."""
    return MemoryRow(
        id=memory_id(partition, str(event.scope or event.key), event.id, effects.MARKER_SPAN), scope=event.key,
        event_id=event.id, span=effects.MARKER_SPAN, offset=offset, created_at=event.time, outcome=Outcome.FORGOTTEN,
        kind=effects.MARKER_KIND,
    )  # fmt: skip


def _importance(draft: Draft) -> float:
    if isinstance(draft.event.body, MemoryRemembered):
        return draft.event.body.importance
    return 0.5 if draft.decision.keep.importance is None else draft.decision.keep.importance


def _metadata(draft: Draft) -> dict[str, Any]:
    return metadata_of(draft.event) if draft.metadata is None else draft.metadata


def named(drafts: Iterable[Draft]) -> None:
    """Redacts every name that a draft's row holds, so that what that takes shows before the row is made. They are short, and
    redacting them again costs as much at most."""
    for draft in drafts:
        kind_of(draft), key_of(draft), draft.crew, draft.task_key, draft.prefix, _parent(draft.event)


def metadata_of(event: Event) -> dict[str, Any]:
    """A remember's metadata; of a kickoff the inputs that were published, so that recall can filter by them."""
    match event.body:
        case MemoryRemembered() as body:
            return dict(redact_value(body.metadata))
        case KickoffCompleted() as body:
            return dict(redact_value(body.inputs))
    return {}


def _parent(event: Event) -> str | None:
    """The kickoff that an output belongs to; what a remember names."""
    body = event.body
    return redact_name(body.parent if isinstance(body, MemoryRemembered) else body.execution_id or body.parent)
