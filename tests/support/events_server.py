"""`POST /v1/events` of a recall service on a real port, for tests of what posts to it: strict about what it takes.

It keeps what it accepted, in order, with the partition and offset that its tokens name.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, from_json
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.limits import BATCH_BYTES, BATCH_EVENTS

KEY = "am_live_" + "1" * 32


class EventsServer:
    """`answer`: (status, JSON or text, headers) instead of doing its work. `drop_answers`: accepts so many batches without
    ever answering. `refuse`: event ids refused for ever. `slow_seconds`: holds a batch
    for so long and then does not take it. `received` counts batches, taken or not."""

    def __init__(self, *, key: str = KEY) -> None:
        self.key = key
        self.accepted: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.reports: list[str] = []
        self.answer: tuple[int, Any, dict[str, str]] | None = None
        self.drop_answers = 0
        self.refuse: set[str] = set()
        self.slow_seconds = 0.0
        self.received = 0
        self.port = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> EventsServer:
        """Listens on a free port the first time, on the same one afterwards."""
        handler = type("Handler", (_Handler,), {"events": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Nobody is served any more; connections that are open are cut."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def contents(self, session: str | None = None) -> list[str]:
        """What was remembered, in order, repeats included; of one session or of all."""
        with self._lock:
            events = [event["data"] for event in self.accepted]
        return [data["content"] for data in events if session is None or data["session"] == session]

    def take(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """The answer to a batch."""
        self.received += 1
        if self.slow_seconds:
            time.sleep(self.slow_seconds)
            return 503, {"error": "unavailable", "message": "too slow"}, {}
        events = json.loads(body)
        if len(events) > BATCH_EVENTS or len(body) > BATCH_BYTES:
            return 413, {"error": "too_large", "message": "too many events or bytes"}, {}
        with self._lock:
            self.batches.append(len(events))
            return 200, {"results": [self._take(event) for event in events]}, {}

    def _take(self, event: dict[str, Any]) -> dict[str, Any]:
        try:
            from_json(event, tenant="default")
        except InvalidEvent as error:
            return {"id": event.get("id"), "status": "refused", "error": str(error)}
        if event["id"] in self.refuse:
            return {"id": event["id"], "status": "refused", "error": "no thanks"}
        self.accepted.append(event)
        return {"id": event["id"], "status": "accepted", "token": f"1.0.{len(self.accepted) - 1}"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    events: EventsServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.events._server is None:  # stopped, and this connection was still open
            self.close_connection = True
            return
        if report := self.headers.get("crewmem-relay"):
            self.events.reports.append(report)
        status, answer, headers = self._answer(body)
        if status == 200 and self.events.drop_answers > 0:
            self.events.drop_answers -= 1
            self.close_connection = True
            return
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json", "content-length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if self.events.answer is not None:
            return self.events.answer
        if self.path != "/v1/events":
            return 404, {"error": "not_found", "message": self.path}, {}
        if self.headers.get("authorization") != f"Bearer {self.events.key}":
            return 401, {"error": "invalid_api_key", "message": "no such key"}, {}
        if self.headers.get("content-type") != BATCH_CONTENT_TYPE:
            return 400, {"error": "invalid_request", "message": "content-type"}, {}
        return self.events.take(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""
