"""Checks key, rate limit and body size of every /v1/ call before a route sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from crewmem_producers.errors import CrewmemError
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from crewmem_store import keys
from crewmem_store.errors import InvalidKey, RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.service import limits
from crewmem_store.service.answers import of_error
from crewmem_store.service.connected import answer_while_connected
from crewmem_store.service.limits import RateLimit
from crewmem_store.service.parts import Parts

GUARDED = "/v1/"
LOOK_AGAIN_EVERY = timedelta(seconds=1)
_documented = HTTPBearer(auto_error=False, description="An API key: `am_live_` and 32 hex digits.")


class AuthMiddleware:
    """ASGI middleware: 401, 413 and 429 are answered here; what passes carries its `Key` in `request.state.key`."""

    def __init__(self, app: ASGIApp, *, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._rate = RateLimit(parts.settings.rate_limit_per_minute, clock=parts.clock)
        self._looked_again: datetime | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            key = await self._authenticate(bearer(headers))
            self._rate.count(key.hash)
            body = await limits.read_body(receive, path=scope["path"], headers=headers)
        except ClientDisconnect:
            return
        except CrewmemError as error:
            await of_error(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["key"] = key
        await answer_while_connected(self._app, scope, receive, send, body=body)

    async def _authenticate(self, given: str) -> Key:
        """A key that is not known may have been made elsewhere just now: the registry is read again for it, once a second
        at most, however many wrong keys come."""
        registry, now = self._parts.registry, self._parts.clock()
        try:
            return keys.authenticate(registry, given, now)
        except InvalidKey:
            if self._looked_again is not None and now - self._looked_again < LOOK_AGAIN_EVERY:
                raise
        self._looked_again = now
        await registry.refresh()
        return keys.authenticate(registry, given, now)


def bearer(headers: Headers) -> str:
    """The key in `Authorization: Bearer <key>`. Raises RequestRefused (401 missing_api_key)."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        message = "send an API key: `Authorization: Bearer am_live_...`"
        raise RequestRefused(401, "missing_api_key", message, headers={"WWW-Authenticate": "Bearer"})
    return key.strip()


def caller(right: Right) -> Callable[..., Key]:
    """The dependency that gives the caller's key, and 403 forbidden_right to one without that right."""

    def check(request: Request, _: Annotated[object, Security(_documented)] = None) -> Key:
        key: Key = request.state.key
        if not key.may(right):
            raise RequestRefused(
                403, "forbidden_right", f"this key has no right to {right}; its rights: {', '.join(key.rights)}"
            )
        return key

    return check


Reader = Annotated[Key, Depends(caller(Right.READ))]
Writer = Annotated[Key, Depends(caller(Right.WRITE))]
Admin = Annotated[Key, Depends(caller(Right.ADMIN))]
