"""What goes out: JSON bodies, a memory as JSON, and errors as `{error, message}`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from crewmem_producers import writer
from crewmem_producers.codec import format_time
from crewmem_producers.errors import CrewmemError, InvalidEvent, InvalidName, LogRefused, Unavailable
from crewmem_producers.names import Scope
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import PydanticSerializationError, to_json
from starlette.exceptions import HTTPException

from crewmem_store.errors import InvalidKey, RequestRefused, StoreRefused, UnknownGeneration
from crewmem_store.rows import MemoryRow
from crewmem_store.service.refusals import Refusals

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1
"""What Retry-After says when a part of the surroundings is away."""


def answer(content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as JSON. A number that JSON has no sign for is null."""
    try:
        body = to_json(content, inf_nan_mode="null")
    except PydanticSerializationError:
        # Half a surrogate pair in what somebody wrote to the log: escaped it is JSON, as UTF-8 it is not.
        body = json.dumps(content, default=str).encode()
    return Response(body, status_code=status, media_type="application/json", headers=dict(headers or {}))


def problem(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """The one shape of every error."""
    readable = message.encode("utf-8", "replace").decode()
    return answer({"error": code, "message": readable}, status=status, headers=headers)


def memory_json(row: MemoryRow) -> dict[str, Any]:
    """A memory as every call gives it; a recall adds `score`. Times are RFC 3339, UTC; what is not there is null."""
    assert row.scope is not None  # a row with text has its scope: only an erasure takes it away
    return {
        "id": row.id,
        "content": row.content if row.content is not None else row.text,
        "session": Scope.parse(row.scope).session,
        "metadata": dict(row.metadata),
        "created_at": format_time(row.created_at),
        "expires_at": format_time(row.expires_at) if row.expires_at else None,
        "superseded_at": format_time(row.superseded_at) if row.superseded_at else None,
        "kind": row.kind,
        "text": row.text,
        "summary": row.summary,
        "crew": row.crew,
        "agent_role": row.agent_role,
        "parent": row.parent,
        "key": row.key,
        "importance": row.importance,
        "event_id": row.event_id,
        "span": row.span,
        "writer": writer.as_json(row.writer),
    }


def of_error(error: CrewmemError) -> Response:
    """An error of ours as an answer."""
    match error:
        case RequestRefused():
            return problem(error.status, error.code, str(error), headers=error.headers)
        case InvalidKey():
            return problem(401, "invalid_api_key", str(error), headers={"WWW-Authenticate": "Bearer"})
        case InvalidName() | InvalidEvent():
            return problem(400, "invalid_request", str(error))
        case Unavailable() | StoreRefused() | LogRefused() | UnknownGeneration():
            logger.warning("the service cannot answer: %s", error)
            return problem(503, "unavailable", str(error), headers={"Retry-After": str(RETRY_SECONDS)})
    logger.error("a call failed", exc_info=error)
    return problem(500, "internal", str(error))


_SAID = {
    "extra_forbidden": "this call has no such field; /docs lists those that it has",
    "model_attributes_type": "send a JSON object, with Content-Type: application/json",
}
"""Pydantic's words where they do not say what to do."""


def of_validation(errors: Sequence[Any]) -> Response:
    """What pydantic found wrong with a call, in the codes of the API."""
    first = errors[0]
    place = [str(part) for part in first["loc"]]
    said = _SAID.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
    return problem(400, _code(place, first["type"]), f"{'.'.join(place)}: {said}")


def _code(place: Sequence[str], kind: str) -> str:
    if place[-1] == "q" and kind in ("missing", "blank"):
        return "missing_query"
    if place[:2] == ["body", "content"]:
        return "content_too_long" if kind == "string_too_long" else "invalid_content"
    return "invalid_request"


_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
_HTTP_MESSAGES = {
    "Not Found": "there is no such path; /docs lists the calls",
    "Method Not Allowed": "the path is right, the method is not; /docs lists the calls",
}
"""What the framework answers by itself, before any call is reached."""


def handle_errors(app: FastAPI, refusals: Refusals) -> None:
    """Every error of the app leaves it as `{error, message}`, and none as 422."""

    @app.exception_handler(CrewmemError)
    async def ours(request: Request, error: CrewmemError) -> Response:
        key = getattr(request.state, "key", None)
        refusals.note(error, request.scope, key_hash=key.hash if key else None)
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return of_validation(error.errors())

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = _HTTP_CODES.get(error.status_code, "invalid_request")
        message = _HTTP_MESSAGES.get(str(error.detail), str(error.detail))
        return problem(error.status_code, code, message, headers=error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return problem(500, "internal", "the service failed; its log says why")
