"""`Crew(memory=CrewMemory(session=...))`: CrewAI's own memory, its recall per task and its tools, kept by crewmem."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from crewai.memory.types import MemoryMatch, MemoryRecord, ScopeInfo
from crewai.memory.unified_memory import Memory
from crewmem_producers.compat import UTC, iso_time
from pydantic import PrivateAttr

from crewmem.errors import InvalidName, RequestRefused
from crewmem.memstore import Memstore
from crewmem.sessions import AGENT_ROLE, PlainSession, resolve_call

RESULT = "\nResult: "
"""What precedes the result in the text that CrewAI saves after a task; before it stand prompt and role."""
SCOPE, CATEGORIES = "scope", "categories"
"""Metadata in which CrewAI's scope paths and categories are kept."""
MOST = 100


class CrewMemory(Memory):
    """A CrewAI `Memory` whose records are memories of one session.

    `session`: a name or a list, else that of the kickoff or `with crewmem.session(...)` block around the call that makes
    it, else CREWMEM_SESSION; fixed from then on. The other arguments are Memstore's.
    Raises SessionMissing, SettingsError, InvalidName, UnsupportedCrewAI.
    """

    _session: PlainSession = PrivateAttr()
    _memstore: Memstore = PrivateAttr()

    def __init__(self, session: PlainSession | None = None, *, read_only: bool = False, **settings: Any) -> None:
        memstore = Memstore(**settings)
        if session is AGENT_ROLE:
            raise RequestRefused("CrewMemory is asked without an agent: use install(session=AGENT_ROLE) instead")
        found = resolve_call(session, default=memstore.settings.session, required=True)
        if not found.write:
            raise InvalidName("'*' is every session, and no session to write to: name the session of this CrewMemory")
        super().__init__(read_only=read_only)
        self._session, self._memstore = list(found.read), memstore

    def model_post_init(self, context: Any) -> None:
        """No storage, embedder or LLM of CrewAI's is made."""

    def remember(
        self,
        content: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        importance: float | None = None,
        source: str | None = None,
        private: bool = False,
        agent_role: str | None = None,
        root_scope: str | None = None,
    ) -> MemoryRecord | None:
        """One memory; None when read-only. In an outage it is delivered later."""
        if self.read_only:
            return None
        kept = dict(metadata or {}) | ({"source": source} if source else {})
        kept |= ({SCOPE: scope} if scope and scope != "/" else {}) | ({CATEGORIES: categories} if categories else {})
        answer = self._memstore.remember(content, self._session, metadata=kept, importance=importance, speaker=agent_role)
        return _record({"content": content, "metadata": kept, "importance": importance} | answer)

    def remember_many(self, contents: list[str], *args: Any, **options: Any) -> list[MemoryRecord]:
        """One memory each."""
        records = [self.remember(content, *args, **options) for content in contents]
        return [record for record in records if record is not None]

    def extract_memories(self, content: str) -> list[str]:
        """The result in what CrewAI saves after a task; prompts are not kept. Consumers do the rest of the work."""
        _, found, result = content.partition(RESULT)
        text = result if found else content
        return [text] if text.strip() else []

    def recall(
        self,
        query: str,
        scope: str | None = None,
        categories: list[str] | None = None,
        limit: int = 10,
        depth: Literal["shallow", "deep"] = "deep",
        source: str | None = None,
        include_private: bool = False,
    ) -> list[MemoryMatch]:
        """The best `limit` memories; `score` is the cosine. In an outage none."""
        narrowed = bool(categories) or (scope or "/") != "/"
        found = self._memstore.recall(query, self._session, top_k=MOST if narrowed else min(limit, MOST))
        matches = [MemoryMatch(record=_record(memory), score=memory.get("score") or 0.0) for memory in found]
        return [match for match in matches if _within(match.record, scope, categories)][:limit]

    def forget(
        self,
        scope: str | None = None,
        categories: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
        record_ids: list[str] | None = None,
    ) -> int:
        """Forgets the named records. Raises RequestRefused for anything broader, which other crews would miss."""
        if not record_ids or scope or categories or older_than or metadata_filter:
            raise RequestRefused("shared memory is forgotten by record id only; `crewmem forget` can do more")
        return sum(bool(self._memstore.forget(record)["deleted"]) for record in record_ids)

    def update(self, record_id: str, *args: Any, **options: Any) -> MemoryRecord:
        """Raises RequestRefused: memories do not change; remember with a `key` supersedes."""
        raise RequestRefused(f"memory {record_id} cannot be changed: Memstore.remember(..., key=...) replaces what a key said")

    def list_records(self, scope: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """The session's memories, newest first, at most 100 a call."""
        page = self._memstore.list(self._session, limit=min(limit, MOST), offset=offset)
        return [record for record in map(_record, page["memories"]) if _within(record, scope, None)]

    def list_scopes(self, path: str | None = None) -> list[str]:
        """None: a session is not divided further."""
        return []

    def list_categories(self, path: str | None = None) -> dict[str, int]:
        """None are counted."""
        return {}

    def info(self, path: str | None = None) -> ScopeInfo:
        """How many memories the session holds."""
        return ScopeInfo(path=path or "/", record_count=self._memstore.list(self._session, limit=1)["total"])

    def tree(self, path: str | None = None, max_depth: int = 3) -> str:
        """One line: the session."""
        return f"{path or '/'} ({self.info(path).record_count} records)"

    def reset(self, scope: str | None = None) -> None:
        """Raises RequestRefused: other crews share this memory."""
        raise RequestRefused("shared memory is not reset from a crew; `crewmem forget` erases what you name")

    def reset_all(self) -> None:
        """Raises RequestRefused."""
        self.reset()


def _record(memory: dict[str, Any]) -> MemoryRecord:
    metadata = dict(memory.get("metadata") or {})
    try:
        created = iso_time(str(memory.get("created_at"))).astimezone(UTC)
    except ValueError:  # a 202 has no time yet
        created = datetime.now(UTC)
    return MemoryRecord(
        id=str(memory["id"]), content=memory["content"], scope=metadata.get(SCOPE, "/"),
        categories=metadata.get(CATEGORIES, []), metadata=metadata, importance=memory.get("importance") or 0.5,
        created_at=created, last_accessed=created, source=metadata.get("source"),
    )  # fmt: skip


def _within(record: MemoryRecord, scope: str | None, categories: list[str] | None) -> bool:
    root = (scope or "/").rstrip("/")
    inside = not root or record.scope == root or record.scope.startswith(root + "/")
    return inside and (not categories or bool(set(categories) & set(record.categories)))
