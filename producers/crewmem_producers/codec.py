"""Events to records and back: CloudEvents 1.0 in binary mode, a JSON body under zstd, upcasters for old bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from crewmem_producers import limits, writer
from crewmem_producers.compat import UTC, iso_time
from crewmem_producers.compression import pack, unpack
from crewmem_producers.errors import EventTooLarge, InvalidEvent, InvalidName, NewerSchema
from crewmem_producers.events import BODIES, CONTROL_BODIES, SCHEMA_VERSION, Body, Event, KickoffCompleted, SessionForgotten
from crewmem_producers.field_types import is_deeper
from crewmem_producers.log import Header, LoggedRecord, Record
from crewmem_producers.names import Scope

LATEST_AHEAD = timedelta(days=1)
"""How far an event's time may lie after the log's own time of its record: clocks differ. What lies further ahead would be the
newest for years, and outlive every erasure of its session."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(event type, schema_version) -> what makes the next version's body of it. Entries are never removed."""

EVENT_ID = re.compile(rf"[\x21-\x7e]{{1,{limits.EVENT_ID_CHARACTERS}}}")
"""Printable ASCII: an id is part of memory ids, tokens and log lines."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_TIME = datetime.fromtimestamp(0, UTC)
"""`logged_at` of a record whose log says no time that can be used."""
RECORD_KEY = re.compile(r"[a-z0-9-]{1,40}/[0-9a-f]{32}")
"""What `Scope.key` makes."""

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""A W3C trace context."""


def body_json(body: Body) -> bytes:
    """The body as JSON, before compression."""
    return body.model_dump_json(by_alias=True, exclude_none=True).encode("utf-8", "surrogatepass")


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """An RFC 3339 time, as UTC; one without an offset counts as UTC. Raises ValueError for any other text, and for a time that
    lies outside of the years 1 to 9999."""
    try:
        time = iso_time(text[: limits.TIME_CHARACTERS + 1])
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no RFC 3339 time: {text[:100]!r}") from error


def clamped(time: datetime, *, logged_at: datetime) -> datetime:
    """The event's time; `logged_at` in its place where it lies more than LATEST_AHEAD after that. Both aware."""
    return logged_at if time - logged_at > LATEST_AHEAD else time


def time_of(record: LoggedRecord | Record) -> datetime:
    """When the record's event happened (UTC): its `ce_time`, clamped to the log's own time where the log says one.

    No wall clock is read, so every replay finds the same. Raises InvalidEvent (`bad_header`).
    """
    time = _time(_required(_headers(record), "ce_time"))
    if not isinstance(record, LoggedRecord) or record.logged_at <= _NO_TIME:
        return time
    return clamped(time, logged_at=record.logged_at)


def encode(event: Event, *, partition: int | None = None) -> Record:
    """The record of an event. Raises EventTooLarge for a body over BODY_BYTES, and over RECORD_BYTES once compressed."""
    body = body_json(_scoped(event))
    if len(body) > limits.BODY_BYTES:
        raise EventTooLarge(f"event {event.id} has {len(body)} bytes; at most {limits.BODY_BYTES} are taken")
    value = pack(body)
    if len(value) > limits.RECORD_BYTES - 4096:  # headers and key need room too
        raise EventTooLarge(f"event {event.id} has {len(value)} bytes compressed; the log takes {limits.RECORD_BYTES}")
    headers: list[Header] = [
        ("ce_id", event.id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_time", format_time(event.time).encode()),
        ("content-type", b"application/json"),
        ("content-encoding", b"zstd"),
    ]
    if event.traceparent:
        headers.append(("traceparent", event.traceparent.encode()))
    if event.writer:
        headers.append((writer.HEADER, event.writer.encode()))
    key = event.key.encode() if event.key else None
    return Record(key=key, value=value, headers=tuple(headers), partition=partition)


def _scoped(event: Event) -> Body:
    """The body with the tenant and session of the event's scope, whatever it named itself."""
    if event.scope is None:
        return event.body
    return event.body.model_copy(update={"tenant": event.scope.tenant, "session": event.scope.session})


def decode(record: LoggedRecord | Record, *, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Event:
    """The event of a record.

    Raises InvalidEvent with a `reason`: `null_body`, `bad_header`, `unknown_type`, `bad_encoding`, `too_large`,
    `not_json`, `too_deep`, `wrong_schema`, `wrong_key`; NewerSchema for a body of a newer version.
    """
    headers = _headers(record)
    kind = _required(headers, "ce_type")
    event_id, time = _required(headers, "ce_id"), time_of(record)
    if not EVENT_ID.fullmatch(event_id):
        raise InvalidEvent("ce_id is 1 to 100 printable ASCII characters", reason="bad_header")
    model = BODIES.get(kind)
    if model is None:
        raise InvalidEvent(f"no event type {kind!r} is known", reason="unknown_type")
    body = parse_body(model, _unpack(record.value, headers.get("content-encoding")), upcasters=upcasters)
    nameless = isinstance(body, SessionForgotten) and body.session is None
    scope = None if nameless else _scope(body, model)
    if scope is not None and (record.key or b"") != scope.key.encode():
        raise InvalidEvent("the record's key is not that of its tenant and session", reason="wrong_key")
    trace = headers.get("traceparent")
    return Event(
        body=body, scope=scope, id=event_id, time=time, source=headers.get("ce_source", "")[: limits.SOURCE_CHARACTERS],
        traceparent=trace if trace and TRACEPARENT.fullmatch(trace) else None,
        record_key=_record_key(record) if nameless else None, writer=writer.parse(headers.get(writer.HEADER)),
    )  # fmt: skip


def parse_body(model: type[Body], data: bytes, *, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Body:
    """A JSON body as its model, upcast to SCHEMA_VERSION. Raises InvalidEvent, NewerSchema."""
    if len(data) > limits.BODY_BYTES:
        raise InvalidEvent(f"the body has over {limits.BODY_BYTES} bytes", reason="too_large")
    try:
        raw = json.loads(data)
        if _may_hold_surrogates(data):
            raw = without_surrogates(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"the body is not JSON: {error}", reason="not_json") from error
    if not isinstance(raw, dict):
        raise InvalidEvent("the body is not a JSON object", reason="not_json")
    if data.count(b"[") + data.count(b"{") > limits.BODY_LEVELS and is_deeper(raw, limits.BODY_LEVELS):
        raise InvalidEvent(f"the body is nested deeper than {limits.BODY_LEVELS} levels", reason="too_deep")
    if issubclass(model, KickoffCompleted):
        _check_kickoff(raw)
    try:
        return model.model_validate(_upcast(model.type, raw, upcasters))
    except ValidationError as error:
        raise InvalidEvent(f"the body is no {model.type}: {_first_error(error)}", reason="wrong_schema") from error


def _check_kickoff(raw: dict[str, Any]) -> None:
    """The limits that the model leaves to publishers, which cut a kickoff to them. Raises InvalidEvent."""
    tasks, inputs = raw.get("tasks"), raw.get("inputs")
    if isinstance(tasks, list) and (count := len(tasks)) > limits.TASKS:
        raise InvalidEvent(f"tasks: at most {limits.TASKS} belong to an event, this one has {count}", reason="wrong_schema")
    if inputs and (size := len(json.dumps(inputs, ensure_ascii=False).encode("utf-8", "replace"))) > limits.INPUTS_BYTES:
        raise InvalidEvent(f"inputs: at most {limits.INPUTS_BYTES} bytes as JSON, these have {size}", reason="wrong_schema")


def _may_hold_surrogates(data: bytes) -> bool:
    """Whether the JSON can hold half a character: as an escape, as bytes of UTF-8, or in UTF-16 or UTF-32, which `json` reads
    too and in which every ASCII character has a zero byte."""
    return b"\\u" in data or b"\xed" in data or b"\0" in data


def without_surrogates(value: Any) -> Any:
    """JSON can escape half a character, which no store can hold: it becomes U+FFFD, so that offsets stay."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_SURROGATE.sub("\ufffd", name): without_surrogates(inner) for name, inner in value.items()}
    return [without_surrogates(inner) for inner in value] if isinstance(value, list) else value


def _upcast(kind: str, raw: dict[str, Any], upcasters: Mapping[tuple[str, int], Upcaster]) -> dict[str, Any]:
    version = raw.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidEvent(f"schema_version is {version!r}, not a whole number from 1", reason="wrong_schema")
    newest = max([SCHEMA_VERSION, *(n + 1 for t, n in upcasters if t == kind)])
    if version > newest:
        raise NewerSchema(f"{kind} has schema_version {version}; this program knows up to {newest}")
    while (upcaster := upcasters.get((kind, version))) is not None:
        raw, version = upcaster(raw), version + 1
    return {**raw, "schema_version": version}


def _scope(body: Body, model: type[Body]) -> Scope | None:
    if model in CONTROL_BODIES:
        return None
    try:
        scope = Scope.of(body.tenant, body.session)
    except InvalidName as error:
        raise InvalidEvent(str(error), reason="wrong_schema") from error
    if scope.session != body.session:
        raise InvalidEvent("the session's name is not normalised", reason="wrong_schema")
    return scope


def _record_key(record: LoggedRecord | Record) -> str:
    """The key of a record whose body names no session."""
    if not RECORD_KEY.fullmatch(record.scope_key):
        raise InvalidEvent("the record's key names no session", reason="wrong_key")
    return record.scope_key


def _headers(record: LoggedRecord | Record) -> dict[str, str]:
    size = sum(len(name) + len(value or b"") for name, value in record.headers)
    if len(record.headers) > limits.RECORD_HEADERS or size > limits.RECORD_HEADER_BYTES:
        most = f"{limits.RECORD_HEADERS} headers of {limits.RECORD_HEADER_BYTES} bytes"
        raise InvalidEvent(f"a record has at most {most}, this one {len(record.headers)} of {size}", reason="bad_header")
    headers: dict[str, str] = {}
    for name, value in record.headers:
        try:
            headers.setdefault(name, (value or b"").decode())
        except UnicodeDecodeError as error:
            if name.startswith("ce_") or name == "content-encoding":
                raise InvalidEvent(f"header {name} is not UTF-8", reason="bad_header") from error
    return headers


def _required(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value or len(value) > limits.HEADER_CHARACTERS:
        raise InvalidEvent(
            f"header {name} is missing, empty or over {limits.HEADER_CHARACTERS} characters", reason="bad_header"
        )
    return value


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise InvalidEvent(f"ce_time is {error}", reason="bad_header") from error


def unpacked(record: LoggedRecord | Record) -> bytes:
    """The JSON of a record's body, of whatever type and version; a sealed one is opened before. Raises InvalidEvent."""
    return _unpack(record.value, _headers(record).get("content-encoding"))


def _unpack(value: bytes | None, encoding: str | None) -> bytes:
    if value is None:
        raise InvalidEvent("the record has no body", reason="null_body")
    if encoding in (None, "", "identity"):
        return value
    if encoding != "zstd":
        raise InvalidEvent(f"content-encoding {encoding!r} is not known", reason="bad_encoding")
    return unpack(value)


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
