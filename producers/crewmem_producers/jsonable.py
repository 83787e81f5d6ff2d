"""Bodies that JSON can hold: what models write is not always text."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from pydantic_core import to_jsonable_python

from crewmem_producers.codec import body_json
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import Event

log = logging.getLogger(__name__)


def jsonable(event: Event) -> Event:
    """The event itself when its body can be written as JSON, else one where that was mended, with a warning.

    Half surrogates become U+FFFD, bytes base64, other objects their `str`. Raises InvalidEvent where that does not help
    (a structure that contains itself).
    """
    try:
        body_json(event.body)
        return event
    except ValueError:
        log.warning("event %s holds values that JSON cannot hold; they are replaced", event.id)
    try:
        mended = _mended(event.body.model_dump(by_alias=True, exclude_none=True))
        return replace(event, body=type(event.body).model_validate(mended))
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"event {event.id} cannot be written as JSON: {error}", reason="not_json") from error


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_mended(str(name)): _mended(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mended(item) for item in value]
    return to_jsonable_python(value, fallback=str, bytes_mode="base64")
