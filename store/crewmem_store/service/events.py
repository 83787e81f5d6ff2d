"""`POST /v1/events`: a batch of CloudEvents from a crew host's relay, appended to the log under the caller's tenant."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, RELAY_HEADER, from_json
from crewmem_producers.codec import clamped, encode
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import PUBLISHABLE
from crewmem_producers.freshness import Mark, format_token
from crewmem_producers.limits import BATCH_EVENTS
from crewmem_producers.log import Record
from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import PydanticSerializationError

from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.service import responses
from crewmem_store.service.admission import work_of
from crewmem_store.service.answers import answer
from crewmem_store.service.auth import Writer
from crewmem_store.service.connected import finished
from crewmem_store.service.parts import Parts, parts_of
from crewmem_store.service.publish import append
from crewmem_store.service.sessions import forbidden

router = APIRouter(tags=["events"])
_EVENT = {
    "type": "object",
    "description": "A CloudEvents 1.0 object. The tenant is that of the key, whatever it says.",
    "required": ["specversion", "id", "type", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0", "description": "The version of CloudEvents."},
        "id": {"type": "string", "description": "1 to 100 printable ASCII characters; the same one again is a repeat."},
        "type": {"enum": sorted(PUBLISHABLE), "description": "What happened."},
        "source": {"type": "string", "maxLength": 200, "description": "Which host says so."},
        "time": {"type": "string", "format": "date-time", "description": "When it happened, RFC 3339."},
        "traceparent": {"type": "string", "maxLength": 200, "description": "The W3C trace context that it belongs to."},
        "data": {"type": "object", "description": "The event's body: `session`, `schema_version` 1, and the type's fields."},
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {BATCH_CONTENT_TYPE: {"schema": {"type": "array", "items": _EVENT, "maxItems": BATCH_EVENTS}}},
    }
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One event of the batch: its record, or why it is refused for ever. `source` is of the event."""

    id: str | None
    record: Record | None = None
    source: str = ""
    refusal: str = ""


@router.post("/v1/events", response_model=responses.EventsAnswer, responses=responses.errors(400), openapi_extra=_BODY)
async def events(request: Request, key: Writer, parts: Annotated[Parts, Depends(parts_of)]) -> Response:
    """Takes up to 500 CloudEvents and answers for each, in order, once the log has acknowledged those that are accepted."""
    _check_content_type(request)
    judged = await parts.intake.run(key, partial(_judge_all, await request.body(), key, parts.clock()))
    parts.rate.events(key.hash, len(judged))
    taken = [one.record for one in judged if one.record is not None]
    works = [work_of(len(await request.body()) // len(judged))] * len(taken) if judged else []
    with parts.unread.watch(key.hash):
        positions = await append(parts, taken, key=key, works=works) if taken else []
    marks = iter([Mark(*position) for position in positions])
    sources = {one.source for one in judged}
    await finished(parts.producers.heard(request.headers.get(RELAY_HEADER), sources=sources, key=key))
    return answer({"results": [_result(one, next(marks) if one.record else None) for one in judged]})


def _check_content_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != BATCH_CONTENT_TYPE:
        raise RequestRefused(400, "invalid_request", f"send content-type: {BATCH_CONTENT_TYPE}, not {given or 'none'}")


def _judge_all(body: bytes, key: Key, now: datetime) -> list[Judged]:
    """Raises RequestRefused for what is no batch; an event that cannot be taken is refused alone."""
    try:
        batch = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "invalid_request", f"the body is not JSON: {error}") from error
    if not isinstance(batch, list):
        raise RequestRefused(400, "invalid_request", "the body is a JSON array of CloudEvents")
    if len(batch) > BATCH_EVENTS:
        raise RequestRefused(413, "too_large", f"a batch has at most {BATCH_EVENTS} events, this one {len(batch)}")
    return [_judge(value, key, now) for value in batch]


def _judge(value: Any, key: Key, now: datetime) -> Judged:
    event_id = value.get("id") if isinstance(value, dict) else None
    name = event_id if isinstance(event_id, str) else None
    try:
        event = from_json(value, tenant=key.tenant)
        assert event.scope is not None  # every type that may be published belongs to a session
        if not key.allows(event.scope.session, Right.WRITE):
            return Judged(name, refusal=f"forbidden_session: {forbidden(key, event.scope.session, Right.WRITE)}")
        event = replace(event, writer=key.writer, time=clamped(event.time, logged_at=now))
        return Judged(name, record=encode(event), source=event.source)
    except InvalidEvent as error:
        return Judged(name, refusal=f"{error.reason}: {error}")
    except (PydanticSerializationError, RecursionError) as error:
        return Judged(name, refusal=f"wrong_schema: its data cannot be written as JSON: {error}")


def _result(judged: Judged, mark: Mark | None) -> dict[str, str | None]:
    if mark is None:
        return {"id": judged.id, "status": "refused", "error": judged.refusal}
    return {"id": judged.id, "status": "accepted", "token": format_token([mark])}
