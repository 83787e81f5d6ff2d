"""Answering a caller only as long as it is there: a call whose caller has hung up is cancelled and computes no further."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewmem_store.service.answers import problem

T = TypeVar("T")

_finishing: set[asyncio.Task[Any]] = set()
"""Keeps what `finished` runs from being collected."""


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. It runs to its end even if the caller is cancelled: a write is never cut off halfway."""
    task = asyncio.create_task(work)
    _finishing.add(task)
    task.add_done_callback(_finishing.discard)
    return await asyncio.shield(task)


async def answer_while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, body: bytes) -> None:
    """Run the app over a call whose body was read, until it has answered or the caller hangs up; then it is cancelled.

    A call that the server itself cuts off, since it stops, is answered with 503.
    """
    answered = _Answered(send)
    gone = asyncio.create_task(_hang_up(receive))
    call = asyncio.create_task(_run(app, scope, _once(body, gone), answered))
    try:
        await asyncio.wait([call, gone], return_when=asyncio.FIRST_COMPLETED)
        if not call.done() and not answered.complete:
            await _cancelled(call)
            return
        await call
    except asyncio.CancelledError:
        await _cancelled(call)
        if not answered.started:
            await _stopping()(scope, receive, send)
            return
        raise
    finally:
        gone.cancel()


class _Answered:
    """Sends on, and knows whether the answer has begun and whether it is complete."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = self.complete = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
        await self._send(message)


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


async def _hang_up(receive: Receive) -> None:
    """Return when the caller has gone; also once it has its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _once(body: bytes, gone: asyncio.Task[None]) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _cancelled(call: asyncio.Task[None]) -> None:
    call.cancel()
    await asyncio.wait([call])
    if not call.cancelled():
        call.exception()  # a caller that has gone needs no error


def _stopping() -> ASGIApp:
    return problem(503, "unavailable", "the service stops; ask again", headers={"Retry-After": "1"})
