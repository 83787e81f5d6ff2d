"""Checks key, rate limit and body size of every /v1/ call before a route sees it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from crewmem_producers.errors import CrewmemError
from crewmem_producers.limits import BATCH_BYTES
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
from crewmem_store.service.buckets import Buckets
from crewmem_store.service.connected import answer_while_connected
from crewmem_store.service.limits import EVENTS_PATH, TENANT_SHARE, Share
from crewmem_store.service.parts import Parts
from crewmem_store.service.refusals import address_of

GUARDED = "/v1/"
LOOK_AGAIN_EVERY = timedelta(seconds=1)
_documented = HTTPBearer(auto_error=False, description="An API key: `am_live_` and 32 hex digits.")


class AuthMiddleware:
    """ASGI middleware: 401, 413 and 429 are answered here; what passes carries its `Key` in `request.state.key`."""

    def __init__(self, app: ASGIApp, *, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        settings = parts.settings
        memory = settings.body_memory_mb * 2**20
        self._bodies = Share(total=memory, per_tenant=max(BATCH_BYTES, memory // TENANT_SHARE), what="bytes of bodies")
        self._calls = Share(total=sys.maxsize, per_tenant=settings.calls_per_tenant, what="calls in progress")
        self._wrong_keys = Buckets(settings.wrong_keys_per_minute, clock=parts.clock)
        self._looked_again: datetime | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        with contextlib.ExitStack() as held:
            try:
                body = await self._admit(scope, receive, held)
            except ClientDisconnect:
                return
            except CrewmemError as error:
                key = scope["state"].get("key")
                self._parts.refusals.note(error, scope, key_hash=key.hash if key else _hash_of_given(scope))
                await of_error(error)(scope, receive, send)
                return
            await answer_while_connected(self._app, scope, receive, send, body=body)

    async def _admit(self, scope: Scope, receive: Receive, held: contextlib.ExitStack) -> bytes:
        """The body of a call that may go on; `held` gives back what it holds. The body is read last: a caller without a key
        never makes the service read one."""
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["key"] = key = await self._authenticate(bearer(headers), scope)
        self._parts.rate.call(key.hash)
        if scope["path"] == EVENTS_PATH:
            self._parts.unread.check(key.hash)
        held.enter_context(self._calls.of(key.tenant)).take(1)
        bodies = held.enter_context(self._bodies.of(key.tenant))
        return await limits.read_body(receive, path=scope["path"], headers=headers, held=bodies)

    async def _authenticate(self, given: str, scope: Scope) -> Key:
        """Raise InvalidKey; RequestRefused (429) after many wrong keys of the address, which hinder no right one."""
        try:
            return await self._known(given)
        except InvalidKey:
            if wait := self._wrong_keys.take(address_of(scope)):
                message = f"too many wrong API keys from this address; try again in {wait} s"
                raise RequestRefused(429, "too_many_wrong_keys", message, headers={"Retry-After": str(wait)}) from None
            raise

    async def _known(self, given: str) -> Key:
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


def _hash_of_given(scope: Scope) -> str | None:
    """The hash of a key that is not known; None where none was sent."""
    with contextlib.suppress(RequestRefused):
        return keys.hash_key(bearer(Headers(scope=scope)))
    return None


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
