"""A small consumer for tests of the pipeline: a log in a list, a store in memory, an ingestor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from crewmem_consumers.ingestor import Ingestor, Processed
from crewmem_consumers.prepare import Preparer
from crewmem_producers.codec import encode
from crewmem_producers.events import (
    Body,
    Event,
    KickoffCompleted,
    KickoffError,
    KickoffFailed,
    MemoryForgotten,
    MemoryRemembered,
    Recalled,
    RulesApplied,
    SessionForgotten,
    SpanRef,
    TaskOutput,
)  # fmt: skip
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.names import Scope
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import LedgerRow, MemoryRow
from support.keyrings import plain_keyring

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = "project_q1"


class Letters:
    """Dead letters in a list."""

    def __init__(self) -> None:
        self.sent: list[Record] = []

    def send(self, letters: Sequence[Record]) -> None:
        self.sent += letters


class Pipeline:
    """One partition: what is put on `log`, and what an ingestor makes of it in `store`."""

    def __init__(
        self, *, rules: str | None = None, embedder: Embedder | None = None, replay: tuple[str, int] | None = None,
        checkpoint: Callable[[str], None] = lambda name: None, preparer: Preparer | None = None,
    ) -> None:  # fmt: skip
        self.log: list[LoggedRecord] = []
        self.letters = Letters()
        self.keyring: Keyring = plain_keyring()
        self.embedder = embedder or HashingEmbedder()
        self.checkpoint = checkpoint
        self.store = MemoryStore(checkpoint=lambda name: self.checkpoint(name))
        self.rules = rules
        self.preparer = preparer
        self.generation = Generation(
            name="g1", embedder=self.embedder.name, embedder_fingerprint=self.embedder.fingerprint,
            dimensions=self.embedder.dimensions, partitions=1, rules=replay[0] if replay else None,
            rules_until={"0": replay[1]} if replay else {},
        )  # fmt: skip

    def append(self, *events: Event | Record, gap: int = 0) -> None:
        """The log has an event as it happens; a record is logged at START."""
        for event in events:
            record = encode(event) if isinstance(event, Event) else event
            offset = (self.log[-1].offset + 1 if self.log else 0) + gap
            logged_at = max(START, event.time) if isinstance(event, Event) else START
            milliseconds = int(logged_at.timestamp() * 1000) + offset
            self.log.append(LoggedRecord(0, offset, record.key, record.value, record.headers, milliseconds))

    def ingestor(self) -> Ingestor:
        """A new one, as after a restart."""
        return Ingestor(
            generation=self.generation, partition=0, embedder=self.embedder, dead_letters=self.letters, keyring=self.keyring,
            store=self.store.partition("g1", 0, dimensions=self.embedder.dimensions), default_rules=self.rules,
            checkpoint=lambda name: self.checkpoint(name), preparer=self.preparer,
        )  # fmt: skip

    def run(self, *events: Event | Record, cuts: Sequence[int] = ()) -> Processed | None:
        """Appends these, then processes what is not yet; `cuts` are offsets at which a batch ends."""
        self.append(*events)
        ingestor, result = self.ingestor(), None
        for start, end in zip([0, *cuts], [*cuts, 1 << 60], strict=True):
            batch = [record for record in self.log if max(start, ingestor.position()) <= record.offset < end]
            result = (ingestor.process(batch) if batch else None) or result
        return result

    def rows(self, session: str = SESSION, tenant: str = "default") -> list[MemoryRow]:
        """Every row of the session with text, in order."""
        scope = str(Scope.of(tenant, session))
        return list(self.store.reader("g1").rows([scope], partitions=[0]).rows)

    def texts(self, session: str = SESSION) -> list[str]:
        return [row.text or "" for row in self.rows(session)]

    def get(self, id: str) -> MemoryRow:
        row = self.store.reader("g1").get(id)
        assert row is not None
        return row

    def ledger(self) -> list[LedgerRow]:
        return list(self.store.reader("g1").ledger(0, start=0, limit=1 << 30))

    def outcomes(self) -> list[str]:
        return [row.outcome.value for row in self.ledger()]

    def digest(self) -> str:
        """Over everything that a replay must bring back, ledger included."""
        rows = [
            (row.id, row.scope, row.kind, row.text, row.content, row.key, row.created_at, row.expires_at, row.superseded_at,
             sorted(row.metadata.items()), row.outcome, row.duplicate_of)
            for entry in self.ledger() if entry.ce_id
            for row in self.store.reader("g1").by_event(entry.ce_id)
        ]  # fmt: skip
        return hashlib.sha256(repr((sorted(map(repr, rows)), self.ledger())).encode()).hexdigest()


def event(body: Body, *, number: int = 0, session: str = SESSION, id: str | None = None, days: float = 0) -> Event:
    """An event of a fixed id and time: `number` seconds and `days` days after START."""
    time = START + timedelta(seconds=number, days=days)
    return Event(body=body, scope=Scope.of("default", session), id=id or f"event-{number:05d}", time=time, source="test")


def remember(content: str, *, number: int = 0, session: str = SESSION, days: float = 0, **fields: Any) -> Event:
    return event(MemoryRemembered(content=content, **fields), number=number, session=session, days=days)


def tasks(*outputs: str, role: str = "Researcher") -> list[TaskOutput]:
    return [TaskOutput(index=index, key=f"t{index}", agent_role=role, raw=raw) for index, raw in enumerate(outputs)]


def kickoff(
    *outputs: str, number: int = 0, days: float = 0, recalled: Sequence[str] = (), session: str = SESSION, **fields: Any
) -> Event:  # fmt: skip
    said = [Recalled(event_id=f"r{place}", span="content", session=session, text=text) for place, text in enumerate(recalled)]
    fields = {"crew": "research", "crew_key": "ck", "tasks": tasks(*outputs), "raw": outputs[-1] if outputs else ""} | fields
    return event(KickoffCompleted(recalled=said, **fields), number=number, days=days, session=session)


def failure(message: str, *, number: int = 0, days: float = 0, task: int = 0) -> Event:
    error = KickoffError(type="TimeoutError", message=message, task_index=task)
    body = KickoffFailed(crew="research", crew_key="ck", tasks=tasks(""), error=error)
    return event(body, number=number, days=days)


def forget(*spans: tuple[str, str], number: int = 0, session: str = SESSION) -> Event:
    body = MemoryForgotten(spans=[SpanRef(event_id=id, span=span) for id, span in spans])
    return event(body, number=number, session=session)


def erase(*, number: int = 0, session: str = SESSION) -> Event:
    return event(SessionForgotten(), number=number, session=session)


def erase_by_key(*, number: int = 0, session: str = SESSION) -> Event:
    """The same, as crewmem writes it: it names its session by the record's key alone."""
    return replace(erase(number=number, session=session), scope=None, record_key=Scope.of("default", session).key)


def apply_rules(text: str, *, number: int = 0) -> Event:
    body = RulesApplied(rules=text, sha256=hashlib.sha256(text.encode()).hexdigest())
    return Event(body=body, scope=None, id=f"rules-{number:05d}", time=START + timedelta(seconds=number), source="test")
