"""`Crew(memory=CrewMemory(session=...))`: CrewAI's own memory, its recall per task and its tools, kept by crewmem."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Literal

from crewai.memory.types import MemoryMatch, MemoryRecord, ScopeInfo
from crewai.memory.unified_memory import Memory
from crewai.memory.utils import join_scope_paths
from crewmem_producers import limits
from pydantic import PrivateAttr

from crewmem.errors import InvalidName, NotFound, RequestRefused
from crewmem.hooks import watch_trials
from crewmem.memory_records import (
    ROOT,
    SCOPE,
    child_scopes,
    count_categories,
    key_of,
    metadata_of,
    record_of,
    scope_info,
    tree_of,
    within,
)
from crewmem.memstore import Memstore
from crewmem.overlap import is_published
from crewmem.sessions import AGENT_ROLE, PlainSession, resolve_call
from crewmem.trials import in_trial

RESULT = "\nResult: "
"""What precedes the result in the text that CrewAI saves after a task; before it stand prompt and role."""


class CrewMemory(Memory):
    """A CrewAI `Memory` whose records are memories of one session.

    `session`: a name or a list, else that of the kickoff or `with crewmem.session(...)` block around the call that makes
    it, else CREWMEM_SESSION; fixed from then on. The other arguments are Memstore's.
    Raises SessionMissing, SettingsError, InvalidName, UnsupportedCrewAI.
    """

    _session: list[str] = PrivateAttr()
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
        watch_trials()

    @property
    def sessions(self) -> tuple[str, ...]:
        """The sessions that it reads; it writes to the first."""
        return tuple(self._session)

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
        """Store one memory; None when read-only. In an outage it is delivered later. A `private` one is recalled by its
        `source` alone, or with `include_private`; no agent's prompt and no tool gets it otherwise."""
        if self.read_only:
            return None
        path = self._path(scope, root_scope)
        kept = metadata_of(metadata, scope=path, categories=categories, source=source, private=private)
        key = key_of(content, scope=path, source=source)
        answer = self._memstore.remember(
            content, self._session, metadata=kept, importance=importance, speaker=agent_role, key=key
        )  # fmt: skip
        return record_of({"content": content, "metadata": kept, "importance": importance} | answer)

    def remember_many(self, contents: list[str], *args: Any, **options: Any) -> list[MemoryRecord]:
        """Store one memory each; blank ones hold nothing and are left out.

        Raise RequestRefused for one that is refused, after the others are stored.
        """
        records, refused = [], []
        for content in contents:
            if isinstance(content, str) and not content.strip():
                continue
            try:
                records.append(self.remember(content, *args, **options))
            except RequestRefused as error:
                refused.append(error)
        if refused:
            raise refused[0]
        return [record for record in records if record is not None]

    def extract_memories(self, content: str) -> list[str]:
        """Return the result in what CrewAI saves after a task; prompts are not kept. Consumers do the rest of the work.

        Nothing in a trial (`Crew.train`, `Crew.test`), and in a kickoff that is published to the same session.
        """
        if in_trial() or is_published(self.sessions[0]):
            return []
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
        """Return the best `limit` memories, at most 100; `score` is the cosine. None for a blank query, and in an outage.

        With `scope` or `categories` they are chosen among the best 100 of the session and the best 100 of that very scope.
        """
        if limit <= 0 or not query.strip():
            return []
        path = self._path(scope)
        narrowed = bool(categories) or path != ROOT
        most = limits.TOP_K if narrowed else min(limit, limits.TOP_K)
        ask = partial(self._memstore.recall, query, self._session, source=source, include_private=include_private or None)
        found = ask(top_k=most)
        if path != ROOT:
            found += ask(top_k=limits.TOP_K, metadata={SCOPE: path})
        unique = {memory["id"]: memory for memory in found}.values()
        matches = [MemoryMatch(record=record_of(memory), score=memory.get("score") or 0.0) for memory in unique]
        inside = [match for match in matches if within(match.record, path, categories)]
        return (sorted(inside, key=lambda match: -match.score) if path != ROOT else inside)[:limit]

    def forget(
        self,
        scope: str | None = None,
        categories: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
        record_ids: list[str] | None = None,
    ) -> int:
        """Forget the named records; return how many there were. Raise RequestRefused for anything broader, which other crews
        would miss."""
        if not record_ids or scope or categories or older_than or metadata_filter:
            raise RequestRefused("shared memory is forgotten by record id only; `crewmem forget` can do more")
        return sum(self._forgotten(record) for record in record_ids)

    def update(self, record_id: str, *args: Any, **options: Any) -> MemoryRecord:
        """Raise RequestRefused: memories do not change; remember with a `key` supersedes."""
        raise RequestRefused(f"memory {record_id} cannot be changed: Memstore.remember(..., key=...) replaces what a key said")

    def list_records(self, scope: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """Return the memories of a scope, newest first, none that is private: nobody says who asks. `offset` of them are left
        out."""
        return list(islice(self._records(scope), max(offset, 0), max(offset, 0) + max(limit, 0)))

    def list_scopes(self, path: str | None = None) -> list[str]:
        """Return the scopes right below `path`. Reads the whole session, as `info`, `tree` and `list_categories` do."""
        return child_scopes(self._records(path), self._path(path))

    def list_categories(self, path: str | None = None) -> dict[str, int]:
        """Return how many memories of a scope have each category."""
        return count_categories(self._records(path))

    def info(self, path: str | None = None) -> ScopeInfo:
        """Return what a scope holds, with those below it."""
        return scope_info(list(self._records(path)), self._path(path))

    def tree(self, path: str | None = None, max_depth: int = 3) -> str:
        """Return the scopes below `path` as indented lines."""
        return tree_of(list(self._records(path)), self._path(path), max_depth)

    def reset(self, scope: str | None = None) -> None:
        """Raise RequestRefused: other crews share this memory."""
        raise RequestRefused("shared memory is not reset from a crew; `crewmem forget` erases what you name")

    def reset_all(self) -> None:
        """Raise RequestRefused."""
        self.reset()

    def drain_writes(self) -> None:
        """Do nothing: what `remember` gave back is kept already, by the service or in the outbox."""

    def close(self) -> None:
        """Close what this process has open to this service; the next use opens it again."""
        self._memstore.close()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> CrewMemory:
        """Return a memory of the same session; both share the connection."""
        return self.model_copy()

    def _path(self, scope: str | None, root_scope: str | None = None) -> str:
        """The whole path of a scope. Raise RequestRefused for one that is not text."""
        if scope is not None and not isinstance(scope, str):
            raise RequestRefused(f"a scope is a path such as /sales/eu, not {scope!r}")
        return join_scope_paths(self.root_scope if root_scope is None else root_scope, scope)

    def _records(self, scope: str | None) -> Iterator[MemoryRecord]:
        """Those of a scope, newest first; each once, though memories arrive while the pages are read."""
        path, seen, offset = self._path(scope), set[str](), 0
        while True:
            page = self._memstore.list(self._session, limit=limits.PAGE, offset=offset)["memories"]
            for record in map(record_of, page):
                if record.id not in seen and within(record, path):
                    yield record
                seen.add(record.id)
            if len(page) < limits.PAGE:
                return
            offset += len(page)

    def _forgotten(self, record_id: str) -> bool:
        try:
            return bool(self._memstore.forget(record_id)["deleted"])
        except NotFound:
            return False
