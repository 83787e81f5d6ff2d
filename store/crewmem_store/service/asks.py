"""What comes in: the bodies and queries of the calls, each field with its limits. A field that is not here is refused,
since a misspelt `session` would read or write the shared one."""

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
Seconds = Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)]
WAIT_SECONDS = 2.0


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RememberAsk(Ask):
    """Something to remember. `ttl` is in seconds from `created_at`, which is now unless it is given."""

    content: Annotated[
        str, Field(min_length=1, max_length=MAX_CONTENT_CHARACTERS), AfterValidator(_not_blank), AfterValidator(_no_nul)
    ]
    session: str | None = None
    metadata: Metadata | None = None
    ttl: Annotated[float, Field(gt=0, le=MAX_TTL_SECONDS, allow_inf_nan=False)] | None = None
    key: Name | None = None
    importance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")] | None = None
    parent: Name | None = None
    speaker: Name | None = None
    created_at: Time | None = None
    wait_seconds: Seconds = WAIT_SECONDS


class RecallAsk(Ask):
    """A question. `after` is a freshness token or `latest`; `threshold` is the least cosine; `max_tokens` bounds the block
    of `format=context`."""

    q: Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS), AfterValidator(_not_blank), AfterValidator(_no_nul)]
    session: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=100)] | None = None
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    after: str | None = None
    wait_seconds: Seconds = WAIT_SECONDS
    strict: bool = False
    as_of: Time | None = None
    crew: Text | None = None
    agent_role: Text | None = None
    kind: Text | None = None
    metadata: Metadata | None = None
    since: Time | None = None
    until: Time | None = None
    format: Literal["json", "context"] = "json"
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 600
    explain: bool = False


class RecallQuery(RecallAsk):
    """The same in a query string: `session` may be repeated, `metadata` is a JSON object."""

    metadata: Annotated[Metadata, BeforeValidator(_parsed)] | None = None


class ListQuery(Ask):
    """A page of a session's memories, the newest first."""

    session: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    offset: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0


class ForgetQuery(Ask):
    wait_seconds: Seconds = WAIT_SECONDS
