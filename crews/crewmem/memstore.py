"""Memstore: what a program asks of the recall service, and what it does when the service is away."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from crewmem_producers.compat import Unpack
from crewmem_producers.destination import outbox_path
from crewmem_producers.errors import ServiceUnavailable
from crewmem_producers.events import Event, utc_now
from crewmem_producers.freshness import LATEST
from crewmem_producers.limits import CONTENT_CHARACTERS
from crewmem_producers.names import Scope
from crewmem_producers.remember_fields import RememberFields
from crewmem_producers.settings import CrewSettings, load

from crewmem.connection import connect
from crewmem.content import fit_content
from crewmem.errors import RequestRefused
from crewmem.recalling import ListArguments, RecallArguments, recall_request, warn_if_behind
from crewmem.remembering import RememberArguments, checked
from crewmem.sessions import PlainSession, Sessions, resolve_call
from crewmem.tracing import traceparent

logger = logging.getLogger("crewmem")

Memory = dict[str, Any]
"""One memory as the service shows it: id, content, score, session, metadata, created_at and more (docs/rest.md)."""
Memories = list[Memory]


class Memstore:
    """Remember, recall, forget and list, over the REST API. Safe to share between threads; nothing is opened before use.

    The session of a call is its argument, else the `session` that the Memstore was made with, else that of the kickoff or
    `with crewmem.session(...)` block around the call, else CREWMEM_SESSION, else `shared`. A thread that has none raises
    SessionMissing while another session is open in the process (`crewmem.propagate`).
    The methods that start with `a` are for asyncio: they run the same call in a worker thread.

    When the service is away, `remember` uses the outbox and `recall` gives `[]`, each with a warning; with `strict` both
    raise ServiceUnavailable instead. `api_key`, `base_url` and further arguments are settings (docs/settings.md). Raises
    SettingsError for settings that are missing or malformed.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        strict: bool = False,
        **settings: Any,
    ) -> None:
        self.settings = load(CrewSettings, api_key=api_key, base_url=base_url, **settings)
        self._session: str | None = settings.get("session")
        self._connection = connect(self.settings)
        self._strict = strict
        # What an earlier process left in the outbox is sent by this one, and nothing overtakes it.
        self._queued = outbox_path(self.settings).exists()
        self._lock = threading.Lock()

    def remember(
        self,
        content: str,
        session: PlainSession | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        ttl: float | None = None,
        key: str | None = None,
        importance: float | None = None,
        kind: str | None = None,
        parent: str | None = None,
        speaker: str | None = None,
        created_at: datetime | None = None,
        wait_seconds: float | None = None,
    ) -> Memory:
        """Stores one memory: `{id, content, session, metadata, created_at}`, or `{id, token, session}` when it is on the
        log but not recallable within `wait_seconds` (the service's default is 2).

        `ttl` in seconds from `created_at`, which is now unless it is given (without a zone it is UTC); `importance` 0 to 1; a
        memory with a `key` replaces the one that had it. Content over 10,000 characters is cut at a sentence, marked and
        warned about. When the service is away the memory goes to the outbox, is delivered later, and the answer is
        `{id, content, session, metadata, created_at, queued: True}`.

        Raises RequestRefused, InvalidName, KeyRefused, RightRefused, OutboxFull.
        """
        text, was_cut = fit_content(content)
        if was_cut:
            logger.warning("content of %d characters is cut to %d", len(content), CONTENT_CHARACTERS)
        fields = checked(
            text, metadata=metadata, ttl=ttl, key=key, importance=importance, kind=kind, parent=parent, speaker=speaker,
            created_at=created_at,
        )  # fmt: skip
        target = self._sessions(session).write
        if not target:
            raise RequestRefused("'*' asks for all sessions when recalling; it is no session to write to")
        if not self._drained():
            return self._queue(fields, target, "earlier memories are still in the outbox")
        request = fields.model_dump(mode="json", exclude_none=True) | {"session": target}
        request |= {} if wait_seconds is None else {"wait_seconds": wait_seconds}
        try:
            return self._connection.client.call("POST", "/v1/memory/remember", json=request, wait_seconds=_wait(wait_seconds))
        except ServiceUnavailable as error:
            if self._strict:
                raise
            return self._queue(fields, target, str(error))

    def recall(
        self,
        query: str,
        session: PlainSession | None = None,
        *,
        top_k: int | None = None,
        threshold: float | None = None,
        after: str | None = LATEST,
        wait_seconds: float | None = None,
        as_of: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        crew: str | None = None,
        agent_role: str | None = None,
        kind: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        source: str | None = None,
        include_private: bool | None = None,
        strict: bool | None = None,
        explain: bool | None = None,
    ) -> Memories:
        """The memories that fit the query best, best first, each with `content` and `score` (a cosine, 0 to 1).

        `session` may be a list, or `"*"` for all that the key may read. At most `top_k` (5, up to 100) come back, each with a
        score of at least `threshold` (0). `crew`, `agent_role`, `kind` and `metadata` take only memories that have these
        values, `since` and `until` only those made between these times; `as_of` asks what was known at that time. With
        `explain` each memory says why it ranked so: `explain`, a number a signal.

        A memory whose metadata say `private: True` comes back only to the `source` that its metadata name, or with
        `include_private`.

        With `after` (a token; by default everything that is on the log now) the service waits until that is in its view,
        `wait_seconds` at most (2, up to 30); None does not wait. When that takes longer a warning says so, and with this
        call's `strict` it raises NotFresh. When the service is away the answer is `[]`, with a warning; whether that raises
        is the `strict` of the Memstore.

        Raises RequestRefused, InvalidName, KeyRefused, RightRefused, and NotFresh with `strict`.
        """
        request = recall_request(
            query, self._sessions(session).read, top_k=top_k, threshold=threshold, after=after, wait_seconds=wait_seconds,
            as_of=as_of, since=since, until=until, crew=crew, agent_role=agent_role, kind=kind, metadata=metadata,
            source=source, include_private=include_private, strict=strict, explain=explain,
        )  # fmt: skip
        return list(self._recalled(request).get("memories", ()))

    def context(
        self,
        query: str,
        session: PlainSession | None = None,
        *,
        max_tokens: int | None = None,
        **fields: Unpack[RecallArguments],
    ) -> str:
        """What `recall` finds as one block of text, ready for a prompt: a line a memory, with its date, its age and who said
        it. Empty when nothing is found, and in an outage. At most `max_tokens` (CREWMEM_MAX_TOKENS), as the embedder counts
        them; `fields` and errors are those of `recall`."""
        asked = recall_request(query, self._sessions(session).read, **({"after": LATEST} | fields))
        asked |= {"format": "context", "max_tokens": self.settings.max_tokens if max_tokens is None else max_tokens}
        return str(self._recalled(asked).get("context", ""))

    def forget(self, id: str) -> dict[str, Any]:
        """Forgets a memory, or every memory of an event id: `{deleted, id}`.

        Raises NotFound, NotFresh (it may be on its way: ask again), KeyRefused, RightRefused, ServiceUnavailable (nothing is
        queued: forgetting must be certain).
        """
        if not isinstance(id, str) or not id.strip():
            raise RequestRefused(f"not a memory id: {id!r}")
        return self._connection.client.call("DELETE", f"/v1/memory/forget/{quote(id, safe='')}", wait_seconds=_wait(None))

    def list(
        self,
        session: PlainSession | None = None,
        *,
        limit: int | None = None,
        offset: int | None = None,
        source: str | None = None,
        include_private: bool | None = None,
    ) -> dict[str, Any]:
        """Return what a session, or several, hold, newest first: `{memories, total}`; `limit` is 20, at most 100. Private
        memories are listed as `recall` gives them: to their `source`, or with `include_private`.

        Raise RequestRefused, KeyRefused, RightRefused, ServiceUnavailable.
        """
        params: dict[str, Any] = {
            "session": list(self._sessions(session).read), "limit": limit, "offset": offset, "source": source,
            "include_private": include_private,
        }  # fmt: skip
        return self._connection.client.call("GET", "/v1/memory/list", params={n: v for n, v in params.items() if v is not None})

    async def aremember(self, content: str, session: PlainSession | None = None, **fields: Unpack[RememberArguments]) -> Memory:
        """`remember` for asyncio."""
        return await asyncio.to_thread(self.remember, content, session, **fields)

    async def arecall(self, query: str, session: PlainSession | None = None, **fields: Unpack[RecallArguments]) -> Memories:
        """`recall` for asyncio."""
        return await asyncio.to_thread(self.recall, query, session, **fields)

    async def acontext(
        self,
        query: str,
        session: PlainSession | None = None,
        *,
        max_tokens: int | None = None,
        **fields: Unpack[RecallArguments],
    ) -> str:
        """`context` for asyncio."""
        return await asyncio.to_thread(self.context, query, session, max_tokens=max_tokens, **fields)

    async def aforget(self, id: str) -> dict[str, Any]:
        """`forget` for asyncio."""
        return await asyncio.to_thread(self.forget, id)

    async def alist(self, session: PlainSession | None = None, **asked: Unpack[ListArguments]) -> dict[str, Any]:
        """`list` for asyncio."""
        return await asyncio.to_thread(self.list, session, **asked)

    def close(self) -> None:
        """Closes what this process has open to this service; the next use opens it again."""
        self._connection.close()

    def _recalled(self, request: dict[str, Any]) -> dict[str, Any]:
        """The service's answer; an empty one, with a warning, when it is away."""
        if self._queued:
            self._connection.publisher.status()  # the relay runs from here on, beside the question
        wait_seconds = _wait(request.get("wait_seconds"))
        try:
            answer = self._connection.client.call("POST", "/v1/memory/recall", json=request, wait_seconds=wait_seconds)
        except ServiceUnavailable as error:
            if self._strict:
                raise
            logger.warning("nothing is recalled: %s", error)
            return {}
        warn_if_behind(answer, "from what is recalled")
        return answer

    def _sessions(self, session: PlainSession | None) -> Sessions:
        return resolve_call(self._session if session is None else session, default=self.settings.session)

    def _drained(self) -> bool:
        """Whether nothing of ours waits in the outbox: what comes later must not overtake it."""
        with self._lock:
            if self._queued:
                self._queued = not self._connection.publisher.flush(self.settings.flush_seconds)
            return not self._queued

    def _queue(self, fields: RememberFields, session: str, why: str) -> Memory:
        scope, source, body = Scope.of(self.settings.tenant, session), self.settings.source, fields.body()
        event = Event(body=body, scope=scope, time=fields.created_at or utc_now(), source=source, traceparent=traceparent())
        with self._lock:
            self._connection.publisher.publish(event)
            self._queued = True
        logger.warning("the memory waits in the outbox and is delivered later: %s", why)
        return {
            "id": event.id, "content": body.content, "session": session, "metadata": body.metadata,
            "created_at": event.time.isoformat(), "queued": True,
        }  # fmt: skip


def _wait(wait_seconds: float | None) -> float:
    return 2.0 if wait_seconds is None else wait_seconds
