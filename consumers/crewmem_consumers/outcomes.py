"""Ledger rows: the one outcome of each position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crewmem_producers.events import EventDiscarded, EventRedriven, RulesApplied
from crewmem_store.rows import ERASED, OF_SPANS, REPEAT, LedgerRow, Outcome

from crewmem_consumers.item import Item
from crewmem_consumers.redaction import redact_name, redact_text


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one span. `rule` kept or dropped it; `errors` are rules that could not be evaluated over it."""

    outcome: Outcome
    rule: str
    memory_id: str | None = None
    duplicate_of: str | None = None
    errors: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Without what is empty."""
        said: dict[str, Any] = {
            "outcome": self.outcome.value, "rule": self.rule, "memory_id": self.memory_id,
            "duplicate_of": self.duplicate_of, "errors": list(self.errors) or None,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}


def of_spans(item: Item, fates: Mapping[str, Fate]) -> LedgerRow:
    """`stored` if any span is, else `duplicate` if any is, else `forgotten` if any is, else `dropped`."""
    present = {fate.outcome for fate in fates.values()}
    outcome = next((outcome for outcome in OF_SPANS if outcome in present), Outcome.DROPPED)
    deciding = next((fate for fate in fates.values() if fate.outcome is outcome), None)
    return _row(
        item, outcome, rule=deciding.rule if deciding else None,
        memory_ids=tuple(fate.memory_id for fate in fates.values() if fate.outcome is Outcome.STORED and fate.memory_id),
        spans={name: fate.as_json() for name, fate in fates.items()},
    )  # fmt: skip


def erased(item: Item) -> LedgerRow:
    """A record that nobody can open any more."""
    return replace(_row(item, Outcome.FORGOTTEN, reason=ERASED), scope_key=item.record.scope_key)


def repeated(item: Item, offset: int) -> LedgerRow:
    """The same event again."""
    return _row(item, Outcome.DUPLICATE, reason=REPEAT, detail=f"the same event as at offset {offset}")


def applied(item: Item) -> LedgerRow:
    """A control event. Of rules the text is kept, so that a consumer that starts knows what is in force; of what is said of a
    dead letter which one it is, so that the ledger tells its state."""
    body = None if item.event is None else item.event.body
    if isinstance(body, RulesApplied):
        return _row(item, Outcome.APPLIED, detail=body.rules, rules_sha256=body.sha256)
    if isinstance(body, EventRedriven | EventDiscarded):
        return _row(item, Outcome.APPLIED, detail=body.model_dump_json(include={"position", "event_id"}))
    return _row(item, Outcome.APPLIED)


def dead_letter(item: Item) -> LedgerRow:
    """A record that can never be processed."""
    assert item.rejection is not None
    return _row(
        item, Outcome.DEAD_LETTER, reason=item.rejection.reason, detail=redact_text(item.rejection.detail)
    )  # fmt: skip


def _row(
    item: Item, outcome: Outcome, *, reason: str | None = None, rule: str | None = None, detail: str | None = None,
    rules_sha256: str | None = None, memory_ids: tuple[str, ...] = (), spans: Mapping[str, Mapping[str, Any]] | None = None,
) -> LedgerRow:  # fmt: skip
    event, record = item.event, item.record
    return LedgerRow(
        offset=record.offset, ce_id=event.id if event else _readable(record.header("ce_id")),
        type=event.type if event else _readable(record.header("ce_type")), scope_key=event.key if event else None,
        crc=item.crc, created_at=event.time if event else None, outcome=outcome, reason=reason, rule=rule,
        rules_sha256=rules_sha256 or item.rules_sha256, memory_ids=memory_ids, spans=spans or {}, detail=detail,
    )  # fmt: skip


def _readable(header: str | None) -> str | None:
    """A header of a record that is no event: cut, since anything may be in it."""
    return redact_name(header[:200]) if header else None
