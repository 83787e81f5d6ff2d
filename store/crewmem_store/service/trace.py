"""The trace that a call belongs to: it goes on in the event that the call makes."""

from __future__ import annotations

from typing import Annotated

from crewmem_producers.codec import TRACEPARENT
from fastapi import Depends, Request


def traceparent(request: Request) -> str | None:
    """The caller's W3C `traceparent` header; None without one, or with one that is not well-formed."""
    given = request.headers.get("traceparent", "")
    return given if TRACEPARENT.fullmatch(given) else None


Trace = Annotated[str | None, Depends(traceparent)]
