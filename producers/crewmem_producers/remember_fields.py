"""What an explicit memory may be made of, and how large each part is: the same for the service and for a client while the
service is away, so that nothing waits in an outbox that the service would have refused.

The event itself, `events.MemoryRemembered`, has the same limits of size.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from crewmem_producers import limits
from crewmem_producers.events import MemoryRemembered
from crewmem_producers.field_types import Content, Kind, Metadata, Name, Share, Time


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
    ttl: Annotated[float, Field(gt=0, le=limits.TTL_SECONDS, allow_inf_nan=False)] | None = None
    """Seconds from `created_at` until recall forgets it, at most 100 years; never unless given."""
    key: Name | None = None
    """What it is about, at most 200 characters: a later memory of the session with the same key takes its place."""
    importance: Share | None = None
    """0 to 1; 0.5 unless given. It lifts or lowers the memory's rank."""
    kind: Kind | None = None
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
