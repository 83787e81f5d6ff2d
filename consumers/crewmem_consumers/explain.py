"""Explain: which rule decides each span of an event, and why. Nothing is written and no text is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from crewmem_producers.events import Event
from crewmem_store.rows import LedgerRow

from crewmem_consumers import memories, secrets
from crewmem_consumers.draft import Draft
from crewmem_consumers.echo import ECHO
from crewmem_consumers.rules import RuleSet
from crewmem_consumers.select import LIMIT, MAX_MEMORIES, SINCE
from crewmem_consumers.split import Span, split

OWN_WHY = {
    ECHO: "all that it says was recalled into that kickoff: a repeat of memory, not a finding",
    SINCE: "it is older than what the replay of this generation took",
    LIMIT: f"the kickoff has {MAX_MEMORIES} memories already",
}
"""Why, where the memories that were there decided and no rule of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is decided of one span. `passed` are the rules that did not match, in order; `errors` those that could not be
    evaluated; `redacted` says what kinds of secrets are taken out. `outcome`, `memory_id` and `duplicate_of` come from the
    ledger, when its row is given: `echo` and duplicates depend on the memories that were there."""

    span: str
    characters: int
    rule: str
    keeps: bool
    why: str = ""
    when: str = ""
    kind: str | None = None
    expires_at: datetime | None = None
    passed: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()
    outcome: str | None = None
    memory_id: str | None = None
    duplicate_of: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Times as RFC 3339, tuples as lists."""
        said = asdict(self) | {"expires_at": self.expires_at.isoformat() if self.expires_at else None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def explain(event: Event, rules: RuleSet, *, ledger: LedgerRow | None = None) -> list[Explanation]:
    """One explanation a span, in order; none for events without spans. With `ledger`, what became of the event is told too."""
    kept = 0
    found = []
    for span in split(event):
        fate = {} if ledger is None else ledger.spans.get(span.name, {})
        explanation = _of_span(event, span, rules, fate) if kept < MAX_MEMORIES else _beyond(span, fate)
        kept += explanation.keeps
        found.append(explanation)
    return found


def _of_span(event: Event, span: Span, rules: RuleSet, fate: Mapping[str, Any]) -> Explanation:
    decision = rules.decide(event, span)
    draft = Draft(event, span, decision)
    found = secrets.find(span.text, personal=decision.keep.redaction == "personal") if decision.keeps else []
    rule = fate.get("rule", decision.rule)
    return Explanation(
        span=span.name, characters=span.end - span.start, rule=rule, keeps=decision.keeps,
        why=OWN_WHY.get(rule, decision.why), when=decision.when, passed=decision.passed, errors=decision.errors,
        kind=memories.kind_of(draft) if decision.keeps else None,
        expires_at=memories.expires_at(draft) if decision.keeps else None,
        redacted=tuple(dict.fromkeys(secret.label for secret in found)), **_told(fate),
    )  # fmt: skip


def _beyond(span: Span, fate: Mapping[str, Any]) -> Explanation:
    return Explanation(
        span=span.name, characters=span.end - span.start, rule=LIMIT, keeps=False, why=OWN_WHY[LIMIT], **_told(fate)
    )  # fmt: skip


def _told(fate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fate.get(name) for name in ("outcome", "memory_id", "duplicate_of")}
