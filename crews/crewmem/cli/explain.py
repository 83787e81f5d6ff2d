"""What became of an event, span by span: which rule decided, and why. Read from the ledger, not decided again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crewmem_producers.events import RulesApplied

from crewmem.cli.errors import UnknownEvent

if TYPE_CHECKING:
    from crewmem_consumers.rules import RuleSet
    from crewmem_store.generations import Generation
    from crewmem_store.rows import LedgerRow, MemoryRow
    from crewmem_store.store import StoreReader

OWN_RULES = {
    "echo": "all it says was recalled into that kickoff: a repeat of memory, not a finding",
    "limit": "the kickoff has left ten memories already",
    "unmatched": "no rule matches, so it is kept",
    "forgotten": "it was forgotten before it arrived",
}
"""Why, where crewmem itself decided and no rule of the file."""

_LOOK_BACK = 5_000
"""Ledger rows that are read at once on the way back to the rules that decided."""


@dataclass(frozen=True, slots=True)
class SpanFate:
    """What became of one span. `why` and `when` are the rule's; the rest is of the memory that was made of it, if one was."""

    span: str
    outcome: str
    rule: str
    why: str
    when: str = ""
    memory_id: str | None = None
    duplicate_of: str | None = None
    kind: str | None = None
    expires_at: datetime | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """What became of one record of the log. `reason` and `detail` are there where no rule was asked, as for a dead letter."""

    partition: int
    offset: int
    event_id: str | None
    type: str | None
    time: datetime | None
    outcome: str
    reason: str | None
    detail: str | None
    rules_sha256: str | None
    spans: tuple[SpanFate, ...]


def explain(event_id: str, *, reader: StoreReader, generation: Generation) -> list[Explained]:
    """Every record of that event, in the order of the log. Blocks. Raises UnknownEvent, StoreUnavailable."""
    found = reader.ledger_of(event_id)
    if not found:
        raise UnknownEvent(f"no event {event_id} has been processed; `crewmem stats` shows how far the consumer is")
    rows = {row.id: row for row in reader.by_event(event_id)}
    return [_explained(partition, row, rows, reader, generation) for partition, row in found]


def _explained(
    partition: int, row: LedgerRow, memories: Mapping[str, MemoryRow], reader: StoreReader, generation: Generation
) -> Explained:
    rules = _rules(row, partition, reader, generation) if row.spans else None
    spans = tuple(_fate(name, fate, rules, memories) for name, fate in row.spans.items())
    return Explained(
        partition=partition, offset=row.offset, event_id=row.ce_id, type=row.type, time=row.created_at,
        outcome=str(row.outcome), reason=row.reason, detail=None if row.type == RulesApplied.type else row.detail,
        rules_sha256=row.rules_sha256, spans=spans,
    )  # fmt: skip


def _fate(span: str, fate: Mapping[str, Any], rules: RuleSet | None, memories: Mapping[str, MemoryRow]) -> SpanFate:
    name = str(fate.get("rule"))
    rule = next((rule for rule in rules.rules if rule.name == name), None) if rules else None
    why = rule.why if rule else OWN_RULES.get(name, "")
    memory = memories.get(str(fate.get("memory_id")))
    made = memory if memory is not None and memory.text is not None else None
    return SpanFate(
        span=span, outcome=str(fate["outcome"]), rule=name, why=why, when=rule.condition.source if rule else "",
        memory_id=fate.get("memory_id"), duplicate_of=fate.get("duplicate_of"), kind=made.kind if made else None,
        expires_at=made.expires_at if made else None, content=made.content if made else None,
    )  # fmt: skip


def _rules(row: LedgerRow, partition: int, reader: StoreReader, generation: Generation) -> RuleSet | None:
    """The rules that decided that row, or None where their text cannot be found any more."""
    from crewmem_consumers.rules import RuleSet, default_rules, fingerprint

    if row.rules_sha256 == default_rules().sha256:
        return default_rules()
    if generation.rules is not None and fingerprint(generation.rules) == row.rules_sha256:
        return RuleSet.parse(generation.rules)
    for start in range(max(row.offset - _LOOK_BACK, 0), -_LOOK_BACK, -_LOOK_BACK):
        for earlier in reversed(reader.ledger(partition, start=max(start, 0), limit=_LOOK_BACK)):
            if earlier.type == RulesApplied.type and earlier.rules_sha256 == row.rules_sha256 and earlier.detail:
                return RuleSet.parse(earlier.detail)
    return None
