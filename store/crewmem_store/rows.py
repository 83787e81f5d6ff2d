"""Memory rows and ledger rows: what the store holds, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from crewmem_producers.compat import StrEnum

Vector = npt.NDArray[np.float32]


class Outcome(StrEnum):
    """What became of a record, or of one of its spans. APPLIED is for control events only."""

    STORED = "stored"
    DROPPED = "dropped"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead_letter"
    FORGOTTEN = "forgotten"
    APPLIED = "applied"


OF_SPANS = (Outcome.STORED, Outcome.DUPLICATE, Outcome.FORGOTTEN, Outcome.DROPPED)
"""What a span can end as. Its record's outcome is the first of these that any of its spans has."""

ERASED = "erased"
"""Reason of a FORGOTTEN record that nobody can open: its data key was erased with its session."""
REPEAT = "repeat"
"""Reason of a DUPLICATE record whose event was processed at a smaller offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """One span that reached the write.

    A row with `text` None is a tombstone: born one (`outcome` is not STORED) or forgotten later; it is never recalled.
    `vector` is float32 of shape (d,), L2-normalised, of `text`. Times are aware, UTC. `importance` is 0 to 1.
    `scope` is `str(Scope)`. `outcome` is what was decided at insertion and never changes. `made_by` names what made `content`
    and `text` of the event, beside the embedder: equal records and equal `made_by` give equal ones. `writer` is the API key
    that wrote the event, as its header says; None of an event without one.
    """

    id: str
    scope: str | None
    event_id: str
    span: str
    offset: int
    created_at: datetime
    outcome: Outcome = Outcome.STORED
    duplicate_of: str | None = None
    kind: str = "note"
    crew: str | None = None
    agent_role: str | None = None
    task_key: str | None = None
    content: str | None = None
    text: str | None = None
    summary: str | None = None
    source_hash: str | None = None
    vector: Vector | None = None
    expires_at: datetime | None = None
    importance: float = 0.5
    key: str | None = None
    superseded_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    embedder: str = ""
    summariser: str = ""
    made_by: str = ""
    writer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What became of one log position, in one generation. Its effect is in the store.

    `scope_key` is the record key (`Scope.key`), None for control events and undecodable records. `crc` is
    `LoggedRecord.crc`. `spans` maps each span to its fate, without what is empty: `{"outcome", "rule", "memory_id",
    "duplicate_of", "errors"}`, the last a list of rules that could not be evaluated over it. `detail` is why a dead letter
    is one; the rules' text of a `rules.applied`; the JSON `{"position", "event_id"}` of an `event.redriven` or
    `event.discarded`; or, of a repeated event, a sentence that names the offset of the first.
    """

    offset: int
    ce_id: str | None
    type: str | None
    scope_key: str | None
    crc: int
    created_at: datetime | None
    outcome: Outcome
    reason: str | None = None
    rule: str | None = None
    rules_sha256: str | None = None
    memory_ids: tuple[str, ...] = ()
    spans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    detail: str | None = None
