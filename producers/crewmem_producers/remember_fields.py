"""What an explicit memory may be made of, and how large each part is: the same for the service and for a client while the
service is away, so that nothing waits in an outbox that the service would have refused.

The event itself, `events.MemoryRemembered`, is laxer: what lies on a log is read whoever wrote it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from crewmem_producers.events import MemoryRemembered

MAX_CONTENT_CHARACTERS = 10_000
MAX_NAME_CHARACTERS = 200
MAX_METADATA_BYTES = 65_536
MAX_METADATA_LEVELS = 32
MAX_TTL_SECONDS = 100 * 365 * 86_400


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


Content = Annotated[
    str, Field(min_length=1, max_length=MAX_CONTENT_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS), AfterValidator(not_blank), AfterValidator(no_nul)]
Kind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Metadata = Annotated[dict[str, Any], AfterValidator(_plain_json)]
"""Plain JSON of at most MAX_METADATA_BYTES and MAX_METADATA_LEVELS."""


class RememberFields(BaseModel):
    """What a caller says of a memory. `ttl` is in seconds from the memory's time, `importance` 0 to 1; what is None is left
    to the event's defaults. A field that is not here is refused.

    Pydantic's ValidationError names the field that is not right; beside pydantic's own its kinds are `blank`, `nul` and, of
    metadata, `plain_json`.
    """

    model_config = ConfigDict(extra="forbid")

    content: Content
    metadata: Metadata | None = None
    ttl: Annotated[float, Field(gt=0, le=MAX_TTL_SECONDS, allow_inf_nan=False)] | None = None
    key: Name | None = None
    importance: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    kind: Kind | None = None
    parent: Name | None = None
    speaker: Name | None = None

    def body(self) -> MemoryRemembered:
        """The event's body, made of the fields above alone: a model that inherits may have others."""
        return MemoryRemembered(**self.model_dump(include=set(RememberFields.model_fields), exclude_none=True))
