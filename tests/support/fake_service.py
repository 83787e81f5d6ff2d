"""A recall service in a few lines, for tests of what calls it: it keeps what it is sent and answers what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "am_live_" + "0" * 32


class FakeService:
    """`memories`: what a recall answers, by session. `fail`: (status, code) for every call, `refuse_events` for
    events only. Counts every call, and notes the `traceparent` of those that are no relay's."""

    def __init__(self) -> None:
        self.memories: dict[str, list[dict[str, Any]]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.traces: list[str | None] = []
        self.events: list[dict[str, Any]] = []
        self.fail: tuple[int, str] | None = None
        self.refuse_events: tuple[int, str] | None = None
        self.behind = False  # whether recalls answer `fresh: false`
        self.lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        service = self

        class Handler(_Handler):
            fake = service

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def recalls(self) -> list[dict[str, Any]]:
        with self.lock:
            return [body for method, path, body in self.calls if path == "/v1/memory/recall"]

    def remembered(self) -> list[dict[str, Any]]:
        with self.lock:
            return [body for method, path, body in self.calls if path == "/v1/memory/remember"]

    def kickoffs(self) -> list[dict[str, Any]]:
        """The data of every kickoff event that arrived, with its type."""
        with self.lock:
            found = [{"type": event["type"], "id": event["id"]} | event["data"] for event in self.events]
        return [event for event in found if event["type"].startswith("crewmem.kickoff.")]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        with self.lock:
            self.calls.append((method, path, body))
            fail = self.fail or (self.refuse_events if path == "/v1/events" else None)
            if fail is not None:
                return fail[0], {"error": fail[1], "message": "as the test wants it"}
            if path == "/v1/events":
                self.events += [event for event in body if event["id"] not in {known["id"] for known in self.events}]
                results = [{"id": event["id"], "status": "accepted", "token": "1.0.1"} for event in body]
                return 200, {"results": results}
            if path == "/v1/memory/recall":
                wanted = body["session"] if isinstance(body["session"], list) else [body["session"]]
                found = [memory for name in wanted for memory in self.memories.get(name, [])]
                asked = body.get("metadata", {}).items()
                found = [memory for memory in found if asked <= memory.get("metadata", {}).items()] if asked else found
                found = found[: body.get("top_k", 5)]
                block = {"context": "the block"} if body.get("format") == "context" else {}
                return 200, {"memories": found, "count": len(found), "query": body["q"], "fresh": not self.behind} | block
            if path == "/v1/memory/remember":
                return 201, {"id": "0-1", "created_at": "2026-11-23T00:00:00Z"} | body
            if path.startswith("/v1/memory/list"):
                return 200, self._page(parse_qs(urlsplit(path).query))
            if path.startswith("/v1/memory/forget/"):
                return self._forgotten(unquote(path.rpartition("/")[2]))
        return 404, {"error": "not_found", "message": path}

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        found = [memory for name in query.get("session", ["shared"]) for memory in self.memories.get(name, [])]
        offset, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["20"])[0])
        return {"memories": found[offset : offset + limit], "total": len(found)}

    def _forgotten(self, id: str) -> tuple[int, Any]:
        for found in self.memories.values():
            for one in [memory for memory in found if memory["id"] == id]:
                found.remove(one)
                return 200, {"deleted": True, "id": id}
        return 404, {"error": "not_found", "message": id}


class _Handler(BaseHTTPRequestHandler):
    fake: FakeService
    protocol_version = "HTTP/1.0"  # a connection a call, so that stopping stops

    def _any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        if self.path != "/v1/events":
            self.fake.traces.append(self.headers.get("traceparent"))
        status, answer = self.fake.answer(self.command, self.path, body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _any

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def memory(content: str, *, session: str = "s", score: float = 0.8, id: str = "0-a", **more: Any) -> dict[str, Any]:
    """One memory as the service shows it."""
    return {
        "id": id, "content": content, "text": f"Senior Researcher (2026-11-20): {content}", "summary": None, "score": score,
        "session": session, "metadata": {}, "created_at": "2026-11-20T10:00:00Z", "agent_role": "Senior Researcher",
        "crew": "research", "event_id": "e-1", "span": "task/0", "kind": "finding",
    } | more  # fmt: skip


@contextmanager
def running() -> Iterator[FakeService]:
    service = FakeService()
    service.start()
    try:
        yield service
    finally:
        service.stop()
