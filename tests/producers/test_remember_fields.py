"""What may be remembered, for service and client alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from crewmem_producers.events import MemoryRemembered
from crewmem_producers.limits import CONTENT_CHARACTERS, METADATA_BYTES, METADATA_LEVELS, TTL_SECONDS
from crewmem_producers.remember_fields import RememberFields
from pydantic import ValidationError


def nested(levels: int) -> dict[str, Any]:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return dict(value)


AT_MOST: dict[str, Any] = {
    "content": "x" * CONTENT_CHARACTERS, "metadata": {"a": "ü" * (METADATA_BYTES // 2 - 5)}, "ttl": TTL_SECONDS,
    "key": "k" * 200, "importance": 1, "kind": "a" * 40, "parent": "p" * 200, "speaker": "ß" * 200,
}  # fmt: skip


def test_the_largest_of_everything_becomes_the_body_of_an_event() -> None:
    body = RememberFields.model_validate(AT_MOST).body()
    assert isinstance(body, MemoryRemembered) and body.model_dump(include=set(AT_MOST)) == AT_MOST


def test_what_is_not_given_is_left_to_the_event() -> None:
    body = RememberFields(content="a", kind=None).body()
    assert body.model_fields_set == {"content"} and (body.kind, body.importance) == ("note", 0.5)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"content": ""}, "string_too_short"),
        ({"content": " \n"}, "blank"),
        ({"content": "x" * (CONTENT_CHARACTERS + 1)}, "string_too_long"),
        ({"content": "a\x00"}, "nul"),
        ({"content": "\ud800"}, "string_unicode"),
        ({"content": 7}, "string_type"),
        ({"metadata": {"a": "ü" * (METADATA_BYTES // 2)}}, "plain_json"),
        ({"metadata": nested(METADATA_LEVELS + 1)}, "plain_json"),
        ({"ttl": 0}, "greater_than"),
        ({"metadata": {"a": float("nan")}}, "plain_json"),
        ({"metadata": {"a": {1, 2}}}, "plain_json"),
        ({"metadata": {"a": "\ud83d"}}, "plain_json"),
        ({"metadata": []}, "dict_type"),
        ({"ttl": TTL_SECONDS + 1}, "less_than_equal"),
        ({"ttl": float("inf")}, "finite_number"),
        ({"key": " "}, "blank"),
        ({"key": "k" * 201}, "string_too_long"),
        ({"speaker": "a\x00"}, "nul"),
        ({"parent": ""}, "string_too_short"),
        ({"importance": 1.1}, "less_than_equal"),
        ({"kind": "Not A Kind"}, "string_pattern_mismatch"),
        ({"kind": "a" * 41}, "string_pattern_mismatch"),
        ({"created_at": "3000-01-01T00:00:00Z"}, "time_range"),
        ({"created_at": "1969-12-31T23:59:59Z"}, "time_range"),
        ({"created_at": "yesterday"}, "datetime_from_date_parsing"),
        ({"sesion": "a"}, "extra_forbidden"),
    ],
)
def test_what_cannot_be_remembered_is_refused_with_its_kind(wrong: dict[str, Any], kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RememberFields.model_validate({"content": "a"} | wrong)
    [error] = caught.value.errors()
    assert error["type"] == kind and error["loc"] == (list(wrong)[-1],)


def test_a_time_without_a_zone_is_utc_and_no_part_of_the_body() -> None:
    fields = RememberFields.model_validate({"content": "a", "created_at": "2026-01-02T03:04:05"})
    assert fields.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert fields.body().model_fields_set == {"content"}


def test_a_structure_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["itself"] = value
    with pytest.raises(ValidationError, match="plain JSON"):
        RememberFields(content="a", metadata=value)


def test_a_model_with_more_fields_gives_the_same_body() -> None:
    class Ask(RememberFields):
        session: str | None = None

    assert Ask(content="a", key="k", session="s").body() == RememberFields(content="a", key="k").body()
