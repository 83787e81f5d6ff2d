"""A call is computed only for a caller that is still there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from crewmem_store.service.connected import answer_while_connected, finished
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}


class Caller:
    """Hangs up when the test says so; keeps what it was sent."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def test_a_call_whose_caller_hangs_up_is_cancelled() -> None:
    caller, begun, ended = Caller(), asyncio.Event(), list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    call = asyncio.create_task(answer_while_connected(app, SCOPE, caller.receive, caller.send, body=b""))
    await begun.wait()
    caller.gone.set()
    await asyncio.wait_for(call, 60)
    assert ended == ["cancelled"] and caller.sent == []


async def test_the_app_gets_the_body_once_and_then_waits_for_the_hang_up() -> None:
    caller, got = Caller(), list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(await receive())
        await PlainTextResponse("answered")(scope, receive, send)
        caller.gone.set()
        got.append(await receive())

    await answer_while_connected(app, SCOPE, caller.receive, caller.send, body=b"body")
    assert got == [{"type": "http.request", "body": b"body", "more_body": False}, {"type": "http.disconnect"}]
    assert caller.sent[-1]["body"] == b"answered"


async def test_an_error_of_the_app_is_raised() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("broken")

    caller = Caller()
    with pytest.raises(ValueError, match="broken"):
        await answer_while_connected(app, SCOPE, caller.receive, caller.send, body=b"")


async def test_a_call_that_a_stopping_server_cuts_off_is_answered_with_503_in_our_shape() -> None:
    caller, begun = Caller(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(answer_while_connected(app, SCOPE, caller.receive, caller.send, body=b""))
    await begun.wait()
    call.cancel()
    await call
    assert caller.sent[0]["status"] == 503 and json.loads(caller.sent[1]["body"])["error"] == "unavailable"


async def test_what_must_finish_does_so_after_its_caller_has_gone() -> None:
    free, done = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        await free.wait()
        done.set()

    caller = asyncio.create_task(finished(write()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    free.set()
    await asyncio.wait_for(done.wait(), 60)
