"""Types of the fields of events and requests, each with its limit of `limits`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from crewmem_producers import limits
from crewmem_producers.compat import UTC

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


def not_blank(text: str) -> str:
    """The text, for an AfterValidator. Raises PydanticCustomError `blank`."""
    if not text.strip():
        raise PydanticCustomError("blank", "there is no text in it")
    return text


def no_nul(text: str) -> str:
    """The text, for an AfterValidator: not every store can hold a NUL. Raises PydanticCustomError `nul`."""
    if "\x00" in text:
        raise PydanticCustomError("nul", "it holds a NUL character")
    return text


def is_deeper(value: object, levels: int) -> bool:
    """Whether it is nested deeper than so many levels. Looks no deeper than that itself."""
    if not isinstance(value, (dict, list, tuple)):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(child, levels - 1) for child in children)


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """What can be stored and given back as it is: no infinities, no half characters, no bottomless nesting."""
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise PydanticCustomError("plain_json", "it is not plain JSON (no NaN, no infinity, no half surrogates)") from error
    _check_size(value, size, levels=limits.METADATA_LEVELS, most=limits.METADATA_BYTES)
    return value


def _sized(*, most: int, levels: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Checks an object of an event, in which a program may have put what JSON cannot hold: the publisher replaces that."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if value:
            _check_size(value, _size(value), levels=levels, most=most)
        return value

    return check


def _size(value: dict[str, Any]) -> int:
    """Its bytes as JSON in UTF-8; 0 where it is nested too deep to be written, which is found out next."""
    try:
        return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
    except (ValueError, TypeError, RecursionError):
        return 0


def _check_size(value: dict[str, Any], size: int, *, most: int, levels: int) -> None:
    if size > most or is_deeper(value, levels):
        said = f"it has at most {most} bytes as JSON, and {levels} levels"
        raise PydanticCustomError("plain_json", "{limits}", {"limits": said})


def _utc(time: datetime) -> datetime:
    """Aware, in UTC; a time without a zone is meant so. Kept to years that every store can hold."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not _FIRST <= aware < _LAST:
        raise PydanticCustomError("time_range", "a time lies between 1970 and 3000")
    return aware.astimezone(UTC)


Text = Annotated[str, AfterValidator(no_nul)]
Content = Annotated[
    str, Field(min_length=1, max_length=limits.CONTENT_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)
]
Name = Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)]
Label = Annotated[str, Field(max_length=limits.LABEL_CHARACTERS), AfterValidator(no_nul)]
"""A role or a crew to look for."""
Kind = Annotated[str, Field(pattern=limits.KIND_PATTERN)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Time = Annotated[datetime, AfterValidator(_utc)]
"""Aware, UTC."""
Metadata = Annotated[dict[str, Any], AfterValidator(_plain_json)]
"""Plain JSON of at most METADATA_BYTES and METADATA_LEVELS."""

EventName = Annotated[str, Field(max_length=limits.NAME_CHARACTERS)]
"""Of an event's body. These are laxer than those of a request: what lies on a log is read, whoever wrote it, within limits."""
EventLabel = Annotated[str, Field(max_length=limits.LABEL_CHARACTERS)]
EventMetadata = Annotated[dict[str, Any], AfterValidator(_sized(most=limits.METADATA_BYTES, levels=limits.METADATA_LEVELS))]
TokenUsage = Annotated[dict[str, Any], AfterValidator(_sized(most=limits.TOKEN_USAGE_BYTES, levels=limits.METADATA_LEVELS))]
