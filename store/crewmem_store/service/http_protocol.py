"""HTTP/1.1 with bounds: on the size of a head, on the time that a caller may take, and on the number of connections."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import h11
from pydantic_core import to_json
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""How long the request line and headers of a call may take, from the connection or their first byte on."""
WRITE_SECONDS = 30.0
"""How long a caller may leave an answer unread while more of it waits to be sent."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 1024 * 1024
"""How much longer, and how much more, is taken of a body whose caller has its answer already: one that is cut off at once would
not see the answer."""


def bounded_protocol(max_connections: int) -> type[BoundedProtocol]:
    """The protocol for so many connections at once."""
    return type("BoundedProtocol", (BoundedProtocol,), {"max_connections": max_connections})


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol over h11, whose `h11_max_incomplete_event_size` bounds a head.

    When there are more than `max_connections`, one without a call in progress makes room: first one that never had a call,
    then the one that is idle longest. If every one has a call, the new one is answered 503.
    """

    max_connections = 1_000

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_left: int | None = None
        self._refused = False
        self._idle_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections and not self._make_room():
            self._refuse(503, "unavailable", f"{self.max_connections} calls are in progress; ask again", retry=True)
        else:
            self._start_timer(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._linger_left is not None:
            self._linger_left -= len(data)
            if self._refused or self._linger_left < 0:
                if self._linger_left < 0:
                    self.transport.abort()
                return
        elif self._timer is None and self.conn.their_state is h11.IDLE:
            self._start_timer(HEAD_SECONDS, self._head_is_late)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self._linger_left is None:
            self._stop_timer()  # the head is there
        elif self._linger_left is not None and not self._refused and self.conn.their_state is not h11.SEND_BODY:
            self._linger_left = None  # the body has ended: the connection goes on
            self._stop_timer()

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._linger()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._start_timer(LINGER_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn while it handles what h11 has raised."""
        if getattr(sys.exception(), "error_status_hint", 400) == 431:
            bound = self.config.h11_max_incomplete_event_size
            self._refuse(431, "too_large", f"the request line and headers are over {bound} bytes; send long fields in a body")
        else:
            self._refuse(400, "invalid_request", msg)

    @property
    def is_idle(self) -> bool:
        """Whether no call is in progress here: none has begun, or the last one is answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> bool:
        idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self and one.is_idle]
        open_ = [one for one in idle if not one.transport.is_closing()]
        if open_:
            min(open_, key=lambda one: (one.cycle is not None, one._idle_since)).transport.abort()
        return bool(open_)

    def _head_is_late(self) -> None:
        self._refuse(408, "timeout", f"the request line and headers took over {HEAD_SECONDS:g} s")

    def _refuse(self, status: int, code: str, message: str, *, retry: bool = False) -> None:
        """Answer without the app, in the shape of every error, and end the connection."""
        self._refused = True
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = to_json({"error": code, "message": message})
            head = f"HTTP/1.1 {status} {code}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            more = "retry-after: 1\r\n" if retry else ""
            self.transport.write(f"{head}{more}connection: close\r\n\r\n".encode() + body)
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # ends the call, whose body is broken
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger()

    def _linger(self) -> None:
        self._linger_left = LINGER_BYTES
        self._start_timer(LINGER_SECONDS, self.transport.abort)

    def _start_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
