"""What a program remembers, checked before anything is sent or kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from crewmem_producers.remember_fields import RememberFields
from pydantic import ValidationError

from crewmem.errors import RequestRefused


class RememberArguments(TypedDict, total=False):
    """What may be said of a memory beside its content and its session, as `Memstore.remember` says."""

    metadata: Mapping[str, Any] | None
    ttl: float | None
    key: str | None
    importance: float | None
    kind: str | None
    parent: str | None
    speaker: str | None
    created_at: datetime | None
    wait_seconds: float | None


def checked(content: str, *, metadata: Mapping[str, Any] | None, **fields: Any) -> RememberFields:
    """What is to be remembered: the same is refused whether the service is there or not. Raises RequestRefused."""
    try:
        plain = dict(metadata) if isinstance(metadata, Mapping) else metadata
        return RememberFields.model_validate({"content": content, "metadata": plain} | fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RequestRefused(f"{first['loc'][0]}: {first['msg']}") from error
