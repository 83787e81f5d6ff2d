"""`POST /v1/memory/remember`: one explicit memory, appended to the log and waited for."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

from crewmem_producers.codec import clamped, format_time
from crewmem_producers.errors import CrewmemError
from crewmem_producers.events import Event
from crewmem_producers.names import SHARED, Scope, memory_id
from fastapi import APIRouter, Depends, Response

from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.rows import MemoryRow
from crewmem_store.service import freshness, responses
from crewmem_store.service.answers import answer, memory_json
from crewmem_store.service.auth import Writer
from crewmem_store.service.parts import Parts, View, parts_of
from crewmem_store.service.publish import Published, publish
from crewmem_store.service.requests import RememberRequest
from crewmem_store.service.sessions import allowed
from crewmem_store.service.trace import Trace

logger = logging.getLogger(__name__)

router = APIRouter(tags=["memory"])
SPAN = "content"


@router.post(
    "/v1/memory/remember",
    status_code=201,
    response_model=responses.Remembered,
    responses={202: {"model": responses.Accepted, "description": "Recallable soon"}, **responses.errors(400)},
)
async def remember(asked: RememberRequest, key: Writer, trace: Trace, parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """Remembers `content`: 201 once it can be recalled, 202 with a token when that takes longer than `wait_seconds`, and always
    where the key may not read the session."""
    scope = allowed(key, SHARED if asked.session is None else asked.session, Right.WRITE)
    published = await publish(parts, event_of(asked, scope, parts, traceparent=trace), key=key, size=len(asked.content))
    row = None
    if key.allows(scope.session, Right.READ):  # what it repeats is another's text
        row = await _arrived(parts, key, scope, published, seconds=asked.wait_seconds)
    if row is None:
        place = memory_id(published.mark.partition, str(scope), published.event.id, SPAN)
        return answer({"id": place, "token": published.token, "session": scope.session}, status=202)
    return answer(_remembered(row, published), status=201)


def event_of(asked: RememberRequest, scope: Scope, parts: Parts, *, traceparent: str | None) -> Event:
    """The event that the request stands for. Its time is `created_at` if that is given, else now. Raises RequestRefused (400)
    for a time that is more than a day away."""
    now = parts.clock()
    time = asked.created_at or now
    if clamped(time, logged_at=now) != time:
        message = f"body.created_at: {format_time(time)} lies in the future; the service's clock says {format_time(now)}"
        raise RequestRefused(400, "invalid_request", message)
    return Event(body=asked.body(), scope=scope, time=time, source=parts.settings.source, traceparent=traceparent)


async def _arrived(parts: Parts, key: Key, scope: Scope, published: Published, *, seconds: float) -> MemoryRow | None:
    """The row that the event became, or the one that it repeats; None when the view does not show it in time."""
    try:
        view = await parts.view()
        if not await freshness.wait(view.watch, [published.mark], seconds=seconds):
            return None
        return await parts.reads.run(key, partial(_survivor, view, published, scope))
    except CrewmemError as error:
        # The log has it: that the view cannot be looked at now takes nothing back.
        logger.warning("a remembered memory is on the log, and the view cannot be looked at: %s", error)
        return None


def _survivor(view: View, published: Published, scope: Scope) -> MemoryRow | None:
    row = view.reader.get(memory_id(published.mark.partition, str(scope), published.event.id, SPAN))
    if row is not None and row.duplicate_of:
        row = view.reader.get(row.duplicate_of)
    return row if row is not None and row.text is not None else None


def _remembered(row: MemoryRow, published: Published) -> dict[str, Any]:
    shown = memory_json(row)
    content = {name: shown[name] for name in ("id", "content", "session", "metadata", "created_at")}
    return content if row.event_id == published.event.id else {**content, "duplicate": True}
