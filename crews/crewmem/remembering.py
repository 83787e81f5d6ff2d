"""What a program remembers, as the event's body: checked before anything is sent or kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from crewmem_producers.events import MemoryRemembered
from pydantic import ValidationError

from crewmem.errors import RequestRefused


class RememberFields(TypedDict, total=False):
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


def body_of(content: str, **fields: Any) -> MemoryRemembered:
    """The event's body, without those fields that are None: the same are refused whether the service is there or not.
    Raises RequestRefused."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        body = MemoryRemembered.model_validate({"content": content} | given)
        json.dumps(body.metadata, allow_nan=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RequestRefused(f"{first['loc'][0]}: {first['msg']}") from error
    except (TypeError, ValueError) as error:
        raise RequestRefused(f"metadata: not JSON ({error})") from error
    return body
