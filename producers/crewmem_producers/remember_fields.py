"""What an explicit memory may be made of, and how large each part is: the same for the service and for a client while the
service is away, so that nothing waits in an outbox that the service would have refused.

The event itself, `events.MemoryRemembered`, is laxer: what lies on a log is read whoever wrote it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from crewmem_producers.events import MemoryRemembered

MAX_CONTENT_CHARACTERS = 10_000
MAX_NAME_CHARACTERS = 200
MAX_METADATA_BYTES = 65_536
MAX_METADATA_LEVELS = 32
MAX_TTL_SECONDS = 100 * 365 * 86_400
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


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """What can be stored and given back as it is: no infinities, no half characters, no bottomless nesting."""
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise PydanticCustomError("plain_json", "it is not plain JSON (no NaN, no infinity, no half surrogates)") from error
    if size > MAX_METADATA_BYTES or _is_deeper(value, MAX_METADATA_LEVELS):
        limits = f"it has at most {MAX_METADATA_BYTES} bytes as JSON, and {MAX_METADATA_LEVELS} levels"
        raise PydanticCustomError("plain_json", "{limits}", {"limits": limits})
    return value


def _is_deeper(value: object, levels: int) -> bool:
    """Whether it is nested deeper than so many levels. Looks no deeper than that itself."""
    if not isinstance(value, (dict, list, tuple)):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _utc(time: datetime) -> datetime:
    """Aware, in UTC; a time without a zone is meant so. Kept to years that every store can hold."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not _FIRST <= aware < _LAST:
        raise PydanticCustomError("time_range", "a time lies between 1970 and 3000")
    return aware.astimezone(UTC)


Text = Annotated[str, AfterValidator(no_nul)]
Content = Annotated[
    str, Field(min_length=1, max_length=MAX_CONTENT_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Time = Annotated[datetime, AfterValidator(_utc)]
"""Aware, UTC."""
Metadata = Annotated[dict[str, Any], AfterValidator(_plain_json)]
"""Plain JSON of at most MAX_METADATA_BYTES and MAX_METADATA_LEVELS."""


class RememberFields(BaseModel):
    """What a caller says of a memory. What is None is left to the event's defaults. A field that is not here is refused.

    Pydantic's ValidationError names the field that is not right; beside pydantic's own its kinds are `blank`, `nul`,
    `time_range` and, of metadata, `plain_json`. The sentences below the fields are what the service's `/docs` shows.
    """

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    content: Content
    """What is remembered: 1 to 10,000 characters, not only white space."""
    metadata: Metadata | None = None
    """A JSON object that comes back with the memory; at most 64 KiB and 32 levels. A recall can filter by it."""
    ttl: Annotated[float, Field(gt=0, le=MAX_TTL_SECONDS, allow_inf_nan=False)] | None = None
    """Seconds from `created_at` until recall forgets it, at most 100 years; never unless given."""
    key: Name | None = None
    """What it is about, at most 200 characters: a later memory of the session with the same key takes its place."""
    importance: Share | None = None
    """0 to 1; 0.5 unless given. It lifts or lowers the memory's rank."""
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")] | None = None
    """A label, `note` unless given: a lower-case letter, then lower-case letters, digits, `-` and `_`, at most 40 in all."""
    parent: Name | None = None
    """What it belongs to, at most 200 characters: memories of one parent support one another in a recall."""
    speaker: Name | None = None
    """Who says it, at most 200 characters: it is searched with the content."""
    created_at: Time | None = None
    """When it happened, from 1970 to a day from now, RFC 3339 (UTC where it has no zone); now unless given."""

    def body(self) -> MemoryRemembered:
        """The event's body. It says nothing of `created_at`, which is the event's own time."""
        return MemoryRemembered(**self.model_dump(include=_OF_THE_BODY, exclude_none=True))


_OF_THE_BODY = RememberFields.model_fields.keys() - {"created_at"}
