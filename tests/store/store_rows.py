"""Rows and ledger rows as the store's tests write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from crewmem_producers.names import Scope, memory_id
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome, Vector
from crewmem_store.store import PartitionStore, Store

DIMENSIONS = 8
GEN = "g1"
PARTITION = 7
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ALICE = str(Scope("acme", "alice"))
BOB = str(Scope("acme", "bob"))
QUOTED = str(Scope.of("acme", 'o\'Brien; drop %table "x" \\ é/一'))


def unit(seed: int) -> Vector:
    """A vector of length 1 that depends on the seed alone."""
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def memory(offset: int, *, scope: str = ALICE, span: str = "content", **fields: object) -> MemoryRow:
    """A stored memory of the event at that offset, every column filled."""
    event_id = f"event-{offset}"
    values: dict[str, object] = {
        "id": memory_id(PARTITION, scope, event_id, span), "scope": scope, "event_id": event_id, "span": span,
        "offset": offset, "created_at": NOON + timedelta(seconds=offset), "crew": "research", "agent_role": "Senior Researcher",
        "task_key": "t1", "kind": "finding", "content": f"full content {offset}", "text": f"text {offset}",
        "summary": None, "source_hash": f"hash-{offset}", "vector": unit(offset), "metadata": {"n": offset, "tags": ["ä", "b"]},
        "parent": "run-1", "embedder": "hashing-1-8-256", "summariser": "",
    }  # fmt: skip
    return MemoryRow(**(values | fields))  # type: ignore[arg-type]


def tombstone(offset: int, *, outcome: Outcome = Outcome.DUPLICATE, **fields: object) -> MemoryRow:
    """A row that is born without text."""
    none = dict.fromkeys(("content", "text", "source_hash", "vector"))
    return memory(offset, outcome=outcome, **(none | {"metadata": {}} | fields))


def marker(offset: int, scope: str = ALICE) -> MemoryRow:
    """What a `session.forgotten` leaves: the session was erased below this offset."""
    return tombstone(
        offset, outcome=Outcome.FORGOTTEN, scope=Scope.parse(scope).key, span="session", kind="erasure",
        crew=None, agent_role=None, task_key=None, parent=None,
    )  # fmt: skip


def entry(offset: int, *, outcome: Outcome = Outcome.STORED, **fields: object) -> LedgerRow:
    """A ledger row, every column filled."""
    values: dict[str, object] = {
        "offset": offset, "ce_id": f"event-{offset}", "type": "crewmem.memory.remembered", "scope_key": Scope.parse(ALICE).key,
        "crc": 4_000_000_000 + offset, "created_at": NOON + timedelta(seconds=offset), "outcome": outcome, "reason": "kept",
        "rule": "explicit", "rules_sha256": "ab" * 32, "memory_ids": (f"7-{offset}", f"7-{offset + 1}"),
        "spans": {"content": {"outcome": "stored", "rule": "explicit", "memory_id": "7-1", "duplicate_of": None}},
        "detail": "it's \"fine\"",
    }  # fmt: skip
    return LedgerRow(**(values | fields))  # type: ignore[arg-type]


def same(left: MemoryRow | None, right: MemoryRow) -> bool:
    """Equal in every column; vectors by value."""
    if left is None or (left.vector is None) != (right.vector is None):
        return False
    fields = [name for name in MemoryRow.__dataclass_fields__ if name != "vector"]
    if any(getattr(left, name) != getattr(right, name) for name in fields):
        return False
    return left.vector is None or right.vector is None or bool(np.array_equal(left.vector, right.vector))


def owner(store: Store, partition: int = PARTITION, generation: str = GEN) -> PartitionStore:
    return store.partition(generation, partition, dimensions=DIMENSIONS)


def put(part: PartitionStore, *rows: MemoryRow, updates: Sequence[object] = (), ledger: Sequence[LedgerRow] = ()) -> None:
    part.commit(rows=rows, updates=updates, ledger=ledger)  # type: ignore[arg-type]
