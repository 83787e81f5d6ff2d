"""What comes in: the bodies and queries of the calls, each field with its limits. A field that is not here is refused,
since a misspelt `session` would read or write the shared one. What stands under a field is what `/docs` says of it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from crewmem_producers import limits
from crewmem_producers.field_types import Kind, Label, Metadata, Share, Time, no_nul, not_blank
from crewmem_producers.remember_fields import RememberFields
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

WAIT_SECONDS = 2.0


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("json", "it is a JSON object, such as {example}", {"example": '{"team": "a"}'}) from error


Sessions = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1, max_length=limits.SESSIONS)]
Seconds = Annotated[float, Field(ge=0, le=limits.WAIT_SECONDS, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class RememberRequest(RememberFields):
    """Something to remember."""

    session: str | None = None
    """The session that it belongs to, 1 to 200 characters; `shared` unless given."""
    wait_seconds: Seconds = WAIT_SECONDS
    """How long to wait until it can be recalled, 0 to 30."""


class RecallRequest(_Request):
    """A question."""

    q: Annotated[str, Field(max_length=limits.QUERY_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)]
    """The question, at most 100,000 characters."""
    session: Sessions | None = None
    """A session, up to 100 of them, or `*` for every one that the key may read; `shared` unless given."""
    top_k: Annotated[int, Field(ge=1, le=limits.TOP_K)] = 5
    """How many memories at most, 1 to 100."""
    threshold: Share = 0.0
    """The least `score` of a memory, 0 to 1."""
    after: Annotated[str, Field(max_length=limits.TOKEN_CHARACTERS)] | None = None
    """Wait until the view holds this: a freshness token of up to 100 marks, or `latest` for all that the log holds of
    these sessions now."""
    wait_seconds: Seconds = WAIT_SECONDS
    """With `after`: how long to wait, 0 to 30."""
    strict: bool = False
    """With `after`: 504 `not_fresh` when the view does not get there in time, rather than an answer with `fresh: false`."""
    as_of: Time | None = None
    """The memory as it stood at that time, 1970 to 3000, with what was replaced or has expired since."""
    crew: Label | None = None
    """Only memories of this crew."""
    agent_role: Label | None = None
    """Only memories of this role."""
    kind: Kind | None = None
    """Only memories of this kind."""
    metadata: Metadata | None = None
    """Only memories whose metadata have each of these values."""
    since: Time | None = None
    """Only memories created then or later, 1970 to 3000."""
    until: Time | None = None
    """Only memories created then or before, 1970 to 3000."""
    source: Label | None = None
    """Who asks: of private memories (metadata `private: true`) only those with this `source` in their metadata."""
    include_private: bool = False
    """Private memories of every source as well."""
    format: Literal["json", "context"] = "json"
    """`context` adds a block of text, ready for an agent's backstory."""
    max_tokens: Annotated[int, Field(ge=1, le=limits.CONTEXT_TOKENS)] = 600
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
    limit: Annotated[int, Field(ge=1, le=limits.PAGE)] = 20
    """How many memories at most, 1 to 100."""
    offset: Annotated[int, Field(ge=0, le=limits.PAGE_OFFSET)] = 0
    """How many of the newest to leave out."""
    source: Label | None = None
    """Who asks: of private memories (metadata `private: true`) only those with this `source` in their metadata."""
    include_private: bool = False
    """Private memories of every source as well."""


class ForgetQuery(_Request):
    """How long a forget may take."""

    wait_seconds: Seconds = WAIT_SECONDS
    """How long to wait in all until nothing of it can be recalled, 0 to 30."""
