"""Just enough of a consumer for tests of the service: every span is kept, equal contents of a session are duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from crewmem_producers.codec import decode
from crewmem_producers.events import Event, KickoffCompleted, MemoryForgotten, MemoryRemembered
from crewmem_producers.log import LoggedRecord
from crewmem_producers.names import memory_id
from crewmem_store.embedder import Embedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.updates import Forget, SupersedeKey, Update


class SmallConsumer:
    def __init__(self, store: MemoryStore, generation: Generation, partition: int, embedder: Embedder) -> None:
        self._store = store.partition(generation.name, partition, dimensions=generation.dimensions)
        self._partition = partition
        self._embedder = embedder
        self.position = 0

    def process(self, records: Sequence[LoggedRecord]) -> None:
        for record in records:
            self._process(record, decode(record))
            self.position = record.offset + 1

    def _process(self, record: LoggedRecord, event: Event) -> None:
        assert event.scope is not None
        scope = str(event.scope)
        before = self._store.view(scopes=[scope], ce_ids=[]).rows(scope)
        rows: list[MemoryRow] = []
        updates: list[Update] = []
        body = event.body
        if isinstance(body, MemoryForgotten):
            named = {memory_id(self._partition, scope, ref.event_id, ref.span) for ref in body.spans}
            updates.append(Forget(tuple(sorted(named))))
        elif isinstance(body, MemoryRemembered):
            rows.append(self._row(record, event, "content", body.content, who=body.speaker, before=before))
            if body.key:
                updates.append(SupersedeKey(scope, body.key, record.offset, event.time))
        elif isinstance(body, KickoffCompleted):
            rows += [
                self._row(record, event, f"task/{task.index}", task.raw, who=task.agent_role, before=before)
                for task in body.tasks
            ]
        entry = LedgerRow(
            offset=record.offset, ce_id=event.id, type=event.type, scope_key=event.key, crc=record.crc,
            created_at=event.time, outcome=rows[0].outcome if rows else Outcome.APPLIED,
        )  # fmt: skip
        self._store.commit(rows=rows, updates=updates, ledger=[entry])

    def _row(
        self, record: LoggedRecord, event: Event, span: str, content: str, *, who: str | None, before: Sequence[MemoryRow]
    ) -> MemoryRow:
        body, scope = event.body, str(event.scope)
        place = memory_id(self._partition, scope, event.id, span)
        same = next((row for row in before if row.source_hash == content and row.superseded_at is None), None)
        common = {
            "id": place, "scope": scope, "event_id": event.id, "span": span, "offset": record.offset, "created_at": event.time,
        }  # fmt: skip
        if same is not None:
            return MemoryRow(**common, outcome=Outcome.DUPLICATE, duplicate_of=same.id)  # type: ignore[arg-type]
        text = f"{who or ''} ({event.time:%Y-%m-%d}): {content}".strip()
        ttl = getattr(body, "ttl", None)
        return MemoryRow(
            **common,  # type: ignore[arg-type]
            content=content, text=text, source_hash=content, vector=self._embedder.embed([text])[0],
            kind=getattr(body, "kind", "completed"), key=getattr(body, "key", None), metadata=getattr(body, "metadata", {}),
            importance=getattr(body, "importance", 0.5), crew=getattr(body, "crew", None), agent_role=who,
            expires_at=event.time + timedelta(seconds=ttl) if ttl else None, parent=body.parent or body.execution_id,
        )  # fmt: skip
