"""The same limits at every door: a call, an event of a batch, and a record that somebody wrote to the log by himself."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from crewmem_producers import limits
from crewmem_producers.cloudevents import from_json
from crewmem_producers.codec import body_json, decode, encode
from crewmem_producers.compression import pack
from crewmem_producers.errors import EventTooLarge, InvalidEvent
from crewmem_producers.events import BODIES, KickoffCompleted, KickoffFailed, MemoryForgotten, MemoryRemembered, RulesApplied
from crewmem_producers.log import Record
from crewmem_producers.names import Scope
from crewmem_producers.remember_fields import RememberFields
from pydantic import ValidationError
from support.events import kickoff, remembered

SCOPE = Scope.of("default", "s")
NAME, LABEL = "n" * limits.NAME_CHARACTERS, "l" * limits.LABEL_CHARACTERS


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


TASK = {"index": 0, "key": LABEL, "name": LABEL, "agent_role": LABEL, "raw": "r"}
RECALLED = {"event_id": "e" * 100, "span": "s" * 200, "session": NAME, "text": "t" * limits.RECALLED_CHARACTERS}
WHOLE: dict[str, dict[str, Any]] = {
    MemoryRemembered.type: {
        "content": "x" * limits.CONTENT_CHARACTERS, "metadata": nested(limits.METADATA_LEVELS), "ttl": limits.TTL_SECONDS,
        "key": NAME, "kind": "k" * limits.KIND_CHARACTERS, "speaker": NAME, "agent_role": LABEL, "crew": LABEL,
        "execution_id": NAME, "parent": NAME,
    },
    KickoffFailed.type: {
        "crew": LABEL, "crew_key": LABEL, "raw": "r", "tasks": [{**TASK, "index": i} for i in range(limits.TASKS)],
        "recalled": [RECALLED] * limits.RECALLED, "token_usage": {"a": "x" * (limits.TOKEN_USAGE_BYTES - 10)},
        "inputs": {"a": "x" * (limits.INPUTS_BYTES - 10)}, "execution_id": NAME, "parent": NAME,
        "error": {"type": LABEL, "message": "m" * limits.ERROR_CHARACTERS},
    },
}  # fmt: skip
"""Every field at its limit."""

OVER: list[tuple[str, dict[str, Any]]] = [
    (MemoryRemembered.type, {"content": "x" * (limits.CONTENT_CHARACTERS + 1)}),
    (MemoryRemembered.type, {"content": "Aa. " * 3_000_000}),
    (MemoryRemembered.type, {"metadata": {"a": "x" * limits.METADATA_BYTES}}),
    (MemoryRemembered.type, {"metadata": nested(limits.METADATA_LEVELS + 1)}),
    (MemoryRemembered.type, {"ttl": limits.TTL_SECONDS + 1}),
    (MemoryRemembered.type, {"key": NAME + "n"}),
    (MemoryRemembered.type, {"kind": "k" * (limits.KIND_CHARACTERS + 1)}),
    (MemoryRemembered.type, {"kind": "A kind"}),
    (MemoryRemembered.type, {"speaker": NAME + "n"}),
    (MemoryRemembered.type, {"parent": NAME + "n"}),
    (MemoryRemembered.type, {"execution_id": NAME + "n"}),
    (MemoryRemembered.type, {"agent_role": LABEL + "l"}),
    (MemoryRemembered.type, {"crew": LABEL + "l"}),
    (KickoffCompleted.type, {"crew": LABEL + "l"}),
    (KickoffCompleted.type, {"crew_key": LABEL + "l"}),
    (KickoffCompleted.type, {"tasks": [{"index": i} for i in range(limits.TASKS + 1)]}),
    (KickoffCompleted.type, {"tasks": [1] * 2_000_000}),
    (KickoffCompleted.type, {"tasks": [{**TASK, "agent_role": LABEL + "l"}]}),
    (KickoffCompleted.type, {"tasks": [{**TASK, "name": LABEL + "l"}]}),
    (KickoffCompleted.type, {"tasks": [{**TASK, "key": LABEL + "l"}]}),
    (KickoffCompleted.type, {"recalled": [RECALLED] * (limits.RECALLED + 1)}),
    (KickoffCompleted.type, {"recalled": [{**RECALLED, "text": "t" * (limits.RECALLED_CHARACTERS + 1)}]}),
    (KickoffCompleted.type, {"recalled": [{**RECALLED, "event_id": "e" * 101}]}),
    (KickoffCompleted.type, {"recalled": [{**RECALLED, "span": "s" * 201}]}),
    (KickoffCompleted.type, {"recalled": [{**RECALLED, "session": NAME + "n"}]}),
    (KickoffCompleted.type, {"inputs": {"a": "x" * limits.INPUTS_BYTES}}),
    (KickoffCompleted.type, {"token_usage": {"a": "x" * limits.TOKEN_USAGE_BYTES}}),
    (KickoffFailed.type, {"error": {"type": "E", "message": "m" * (limits.ERROR_CHARACTERS + 1)}}),
    (KickoffFailed.type, {"error": {"type": LABEL + "l", "message": "m"}}),
]
NEEDED: dict[str, dict[str, Any]] = {
    MemoryRemembered.type: {"content": "x"},
    KickoffCompleted.type: {},
    KickoffFailed.type: {"error": {"type": "", "message": ""}},
}
BY_FIELD = [pytest.param(*one, id=f"{one[0].rpartition('.')[2]}-{next(iter(one[1]))}-{n}") for n, one in enumerate(OVER)]


def batched(kind: str, data: dict[str, Any]) -> object:
    """As an event of `POST /v1/events`."""
    value = {"specversion": "1.0", "id": "e-1", "type": kind, "time": "2026-11-01T00:00:00Z", "source": "t"}
    return from_json(value | {"data": {"schema_version": 1, "session": "s"} | data}, tenant="default")


def logged(kind: str, data: dict[str, Any]) -> object:
    """As a record that somebody wrote to the log by himself."""
    body = json.dumps({"schema_version": 1, "tenant": "default", "session": "s"} | data).encode()
    headers = [h for h in encode(remembered("x")).headers if h[0] != "ce_type"]
    return decode(Record(SCOPE.key.encode(), pack(body), (*headers, ("ce_type", kind.encode()))))


@pytest.mark.parametrize("door", [batched, logged])
@pytest.mark.parametrize("kind", WHOLE)
def test_every_field_is_taken_at_its_limit(door: Callable[..., object], kind: str) -> None:
    door(kind, WHOLE[kind])


@pytest.mark.parametrize("door", [batched, logged])
@pytest.mark.parametrize(("kind", "fields"), BY_FIELD)
def test_an_event_over_a_limit_is_refused(door: Callable[..., object], kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as caught:
        door(kind, NEEDED[kind] | fields)
    assert caught.value.reason in ("wrong_schema", "too_large")
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize("fields", [fields for kind, fields in OVER if kind == MemoryRemembered.type])
def test_what_a_batch_refuses_the_call_refuses_too(fields: dict[str, Any]) -> None:
    known = {name: value for name, value in fields.items() if name in RememberFields.model_fields}
    if known:
        with pytest.raises(ValidationError):
            RememberFields.model_validate({"content": "x"} | known)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (MemoryForgotten.type, {"spans": [{"event_id": "e", "span": "s"}] * (limits.FORGOTTEN_SPANS + 1)}),
        (RulesApplied.type, {"rules": "#" * (limits.RULES_CHARACTERS + 1), "sha256": "x"}),
    ],
)
def test_what_commands_write_has_limits_on_the_log_as_well(kind: str, data: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as caught:
        logged(kind, data)
    assert caught.value.reason == "wrong_schema"


def test_a_body_over_the_limit_is_refused_by_the_door_and_by_the_decoder() -> None:
    large = kickoff("x" * limits.BODY_BYTES)
    with pytest.raises(EventTooLarge):
        encode(large)
    record = encode(kickoff("x"))
    with pytest.raises(InvalidEvent) as caught:
        decode(Record(record.key, pack(body_json(large.body)), record.headers))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    "added",
    [
        (("h", b"x" * limits.RECORD_HEADER_BYTES),),
        tuple((f"h{n}", b"") for n in range(limits.RECORD_HEADERS)),
    ],
)
def test_a_record_with_too_many_or_too_large_headers_is_no_event(added: tuple[tuple[str, bytes], ...]) -> None:
    record = encode(remembered("x"))
    with pytest.raises(InvalidEvent) as caught:
        decode(Record(record.key, record.value, record.headers + added))
    assert caught.value.reason == "bad_header"


def test_every_type_of_event_is_in_the_table() -> None:
    """A text field without a limit shows here: only what a kickoff puts out has none of its own, the body has."""
    free = {"raw", "schema_version", "tenant", "session", "type"}
    for model in BODIES.values():
        for name, field in model.model_fields.items():
            if name in free:
                continue
            schema = model.model_json_schema()["properties"][field.alias or name]
            texts = [part for part in [schema, *schema.get("anyOf", ())] if part.get("type") == "string"]
            assert all("maxLength" in part or "pattern" in part for part in texts), (model.type, name)
