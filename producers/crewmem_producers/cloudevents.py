"""Events in CloudEvents 1.0 JSON, as `POST /v1/events` takes them in batches (`application/cloudevents-batch+json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crewmem_producers.codec import EVENT_ID, body_json, format_time, parse_body, parse_time, without_surrogates
from crewmem_producers.errors import InvalidEvent, InvalidName
from crewmem_producers.events import BODIES, PUBLISHABLE, Event
from crewmem_producers.limits import SOURCE_CHARACTERS
from crewmem_producers.names import Scope

BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
RELAY_HEADER = "crewmem-relay"


def to_json(event: Event) -> dict[str, Any]:
    """One event as a CloudEvents JSON object; `data` is its body, with the session's name and without the tenant."""
    data = json.loads(body_json(event.body))
    data.pop("tenant", None)
    if event.scope:
        data["session"] = event.scope.session
    ce: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "time": format_time(event.time),
        "datacontenttype": "application/json",
        "data": data,
    }
    return ce | ({"traceparent": event.traceparent} if event.traceparent else {})


def to_bytes(event: Event) -> bytes:
    """The same object as it is kept and sent: JSON in UTF-8, without white space."""
    return json.dumps(to_json(event), ensure_ascii=False, separators=(",", ":")).encode()


def from_json(value: object, *, tenant: str) -> Event:
    """The event of a CloudEvents JSON object, under the tenant of the caller's key whatever the object says.

    Raises InvalidEvent (`bad_header`, `unknown_type`, `wrong_schema`), NewerSchema.
    """
    if not isinstance(value, dict) or value.get("specversion") != "1.0":
        raise InvalidEvent("not a CloudEvents 1.0 object", reason="bad_header")
    event_id, kind, time = value.get("id"), value.get("type"), value.get("time")
    if not isinstance(event_id, str) or not EVENT_ID.fullmatch(event_id):
        raise InvalidEvent("`id` is 1 to 100 printable ASCII characters", reason="bad_header")
    if not isinstance(kind, str) or kind not in PUBLISHABLE:
        raise InvalidEvent(f"`type` is one of {', '.join(sorted(PUBLISHABLE))}, not {str(kind)[:100]!r}", reason="unknown_type")
    body = parse_body(BODIES[kind], json.dumps(value.get("data")).encode("utf-8", "surrogatepass"))
    try:
        scope = Scope.of(tenant, body.session)
    except InvalidName as error:
        raise InvalidEvent(str(error), reason="wrong_schema") from error
    return Event(
        body=body,
        scope=scope,
        id=event_id,
        time=_time(time),
        source=_text(value, "source"),
        traceparent=_text(value, "traceparent") or None,
    )


def _time(value: object) -> datetime:
    try:
        return parse_time(value if isinstance(value, str) else "")
    except ValueError as error:
        raise InvalidEvent(f"`time` is no RFC 3339 time: {str(value)[:100]!r}", reason="bad_header") from error


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value.get(name, "")
    if not isinstance(text, str) or len(text) > SOURCE_CHARACTERS:
        raise InvalidEvent(f"`{name}` is a string of at most {SOURCE_CHARACTERS} characters", reason="bad_header")
    return str(without_surrogates(text))
