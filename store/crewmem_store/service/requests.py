"""What comes in: the bodies and queries of the calls, each field with its limits. A field that is not here is refused,
since a misspelt `session` would read or write the shared one. What stands under a field is what `/docs` says of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MAX_CONTENT_CHARACTERS = 10_000
MAX_QUERY_CHARACTERS = 100_000
MAX_METADATA_BYTES = 65_536
MAX_METADATA_LEVELS = 32
MAX_TTL_SECONDS = 100 * 365 * 86_400
_METADATA_LIMITS = f"it has at most {MAX_METADATA_BYTES} bytes as JSON, and {MAX_METADATA_LEVELS} levels"
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "there is no text in it")
    return text


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("nul", "it holds a NUL character")
    return text


def _utc(time: datetime) -> datetime:
    """Aware, in UTC; a time without a zone is meant so. Kept to years that every store can hold."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not _FIRST <= aware < _LAST:
        raise PydanticCustomError("time_range", "a time lies between 1970 and 3000")
    return aware.astimezone(UTC)


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """What can be stored and given back as it is: no infinities, no half characters, no bottomless nesting."""
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("plain_json", "it is not plain JSON (no NaN, no infinity, no half surrogates)") from error
    if size > MAX_METADATA_BYTES or _deeper(value, MAX_METADATA_LEVELS):
        raise PydanticCustomError("plain_json", _METADATA_LIMITS)
    return value


def _deeper(value: object, levels: int) -> bool:
    """Whether it nests more than so many levels; looks no deeper than that."""
    if not isinstance(value, (dict, list)):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(child, levels - 1) for child in children)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("json", "it is a JSON object, such as {example}", {"example": '{"team": "a"}'}) from error


Text = Annotated[str, AfterValidator(_no_nul)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_not_blank), AfterValidator(_no_nul)]
Time = Annotated[datetime, AfterValidator(_utc)]
Metadata = Annotated[dict[str, Any], AfterValidator(_plain_json)]
Sessions = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=100)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]
WAIT_SECONDS = 2.0


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class RememberRequest(_Request):
    """Something to remember."""

    content: Annotated[
        str, Field(min_length=1, max_length=MAX_CONTENT_CHARACTERS), AfterValidator(_not_blank), AfterValidator(_no_nul)
    ]
    """What is remembered: 1 to 10,000 characters, not only white space."""
    session: str | None = None
    """The session that it belongs to, 1 to 200 characters; `shared` unless given."""
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
    """When it happened, 1970 to 3000, RFC 3339 (UTC where it has no zone); now unless given."""
    wait_seconds: Seconds = WAIT_SECONDS
    """How long to wait until it can be recalled, 0 to 30."""


class RecallRequest(_Request):
    """A question."""

    q: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS), AfterValidator(_not_blank), AfterValidator(_no_nul)]
    """The question, at most 100,000 characters."""
    session: Sessions | None = None
    """A session, up to 100 of them, or `*` for every one that the key may read; `shared` unless given."""
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    """How many memories at most, 1 to 100."""
    threshold: Share = 0.0
    """The least `score` of a memory, 0 to 1."""
    after: str | None = None
    """Wait until the view holds this: a freshness token, or `latest` for all that the log holds of these sessions now."""
    wait_seconds: Seconds = WAIT_SECONDS
    """With `after`: how long to wait, 0 to 30."""
    strict: bool = False
    """With `after`: 504 `not_fresh` when the view does not get there in time, rather than an answer with `fresh: false`."""
    as_of: Time | None = None
    """The memory as it stood at that time, 1970 to 3000, with what was replaced or has expired since."""
    crew: Text | None = None
    """Only memories of this crew."""
    agent_role: Text | None = None
    """Only memories of this role."""
    kind: Text | None = None
    """Only memories of this kind."""
    metadata: Metadata | None = None
    """Only memories whose metadata have each of these values."""
    since: Time | None = None
    """Only memories created then or later, 1970 to 3000."""
    until: Time | None = None
    """Only memories created then or before, 1970 to 3000."""
    format: Literal["json", "context"] = "json"
    """`context` adds a block of text, ready for an agent's backstory."""
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 600
    """With `format=context`: how long the block is at most, in tokens of the embedder, 1 to 100,000."""
    explain: bool = False
    """Adds to each memory why it ranked so."""


class RecallQuery(RecallRequest):
    """The same in a query string."""

    session: Sessions | None = None
    """A session, up to 100 of them (the parameter repeated), or `*` for all that the key may read; `shared` unless given."""
    metadata: Annotated[Metadata, BeforeValidator(_parsed)] | None = None
    """Only memories whose metadata have each of these values: a JSON object, such as `{"team": "a"}`."""


class ListQuery(_Request):
    """A page of a session's memories, the newest first."""

    session: Sessions | None = None
    """A session, up to 100 of them (the parameter repeated), or `*` for all that the key may read; `shared` unless given."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """How many memories at most, 1 to 100."""
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """How many of the newest to leave out."""


class ForgetQuery(_Request):
    """How long a forget may take."""

    wait_seconds: Seconds = WAIT_SECONDS
    """How long to wait in all until nothing of it can be recalled, 0 to 30."""
