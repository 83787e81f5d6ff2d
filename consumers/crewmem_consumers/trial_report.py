"""What a trial of rules found: counts by rule, and the memories that would appear, disappear or change."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from crewmem_producers.names import Scope
from crewmem_store.rows import LedgerRow, MemoryRow

from crewmem_consumers.rules import RuleSet
from crewmem_consumers.trial_partition import Decided, decided

APPEAR, DISAPPEAR, CHANGE = "appear", "disappear", "change"

Fates = Mapping[tuple[str, str], Decided]


@dataclass(slots=True)
class RuleCount:
    """What one rule decides: events of which it keeps a piece, and of which it drops one, on trial and now."""

    rule: str
    kept: int = 0
    dropped: int = 0
    kept_now: int = 0
    dropped_now: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A memory that would appear, disappear or change, and the rule on trial that decides its piece (None: no piece)."""

    id: str
    session: str
    kind: str
    rule: str | None
    text: str


@dataclass(slots=True)
class Trial:
    """What the rules would make of `events`. `rules` are in the order of the file, then those that crewmem names itself or
    that decide only now. Memories are those that a recall can give; of one that would `change` kind, text or end differ."""

    events: int = 0
    memories_now: int = 0
    memories_then: int = 0
    rules: list[RuleCount] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((APPEAR, DISAPPEAR, CHANGE), 0))
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {what: [] for what in (APPEAR, DISAPPEAR, CHANGE)})


class Tally:
    """Adds partitions up. `samples` of each kind are kept, the same ones every time; `now` (UTC) tells what has expired."""

    def __init__(self, rules: RuleSet, *, samples: int, now: datetime) -> None:
        self.now = now
        self._samples = samples
        self._dice = random.Random(0)
        self._trial = Trial()
        self._by_rule = {rule.name: RuleCount(rule.name) for rule in rules.rules}

    def trial(self) -> Trial:
        """What was added up so far."""
        self._trial.rules = list(self._by_rule.values())
        return self._trial

    def decided(self, fates: Fates) -> None:
        """Counts what is decided on trial, an event once a rule and way."""
        events: dict[str, set[Decided]] = {}
        for (event_id, _), one in fates.items():
            events.setdefault(event_id, set()).add(one)
        self._trial.events += len(events)
        for ways in events.values():
            for rule, kept in ways:
                count = self._of(rule)
                count.kept, count.dropped = count.kept + kept, count.dropped + (not kept)

    def decided_now(self, ledger: Iterable[LedgerRow]) -> None:
        """Counts what the generation that answers has decided."""
        for row in ledger:
            for rule, kept in {decided(fate) for fate in row.spans.values()}:
                count = self._of(rule)
                count.kept_now, count.dropped_now = count.kept_now + kept, count.dropped_now + (not kept)

    def compare(self, now: Mapping[str, MemoryRow], then: Mapping[str, MemoryRow], fates: Fates) -> None:
        """Counts and samples the difference between two sets of memories, by id."""
        self._trial.memories_now += len(now)
        self._trial.memories_then += len(then)
        for id, row in then.items():
            if id not in now:
                self._note(APPEAR, row, fates)
            elif _shown(now[id]) != _shown(row):
                self._note(CHANGE, row, fates)
        for id, row in now.items():
            if id not in then:
                self._note(DISAPPEAR, row, fates)

    def _of(self, rule: str) -> RuleCount:
        return self._by_rule.setdefault(rule, RuleCount(rule))

    def _note(self, what: str, row: MemoryRow, fates: Fates) -> None:
        """Keeps each of those that were seen with the same chance."""
        self._trial.counts[what] += 1
        kept = self._trial.samples[what]
        place = len(kept) if len(kept) < self._samples else self._dice.randrange(self._trial.counts[what])
        if place < self._samples:
            fate = fates.get((row.event_id, row.span))
            session = Scope.parse(row.scope or "").session
            kept[place : place + 1] = [Sample(row.id, session, row.kind, fate.rule if fate else None, row.text or "")]


def _shown(row: MemoryRow) -> tuple[object, ...]:
    return row.kind, row.text, row.expires_at
