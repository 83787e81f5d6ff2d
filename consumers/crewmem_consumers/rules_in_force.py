"""Which rules decide a position: those that the log applied before it, or a replay's own."""

from __future__ import annotations

from crewmem_producers.events import RulesApplied
from crewmem_store.generations import Generation
from crewmem_store.rows import LedgerRow

from crewmem_consumers.rules import RuleSet


class RulesInForce:
    """The rules of one (generation, partition), position by position. Immutable: `after` gives the next.

    Below `generation.rules_until` a replay's rules decide; from there on the newest `rules.applied` before the position, and
    without any the default ones.
    """

    def __init__(self, applied: RuleSet, *, replayed: RuleSet | None, until: int) -> None:
        self._applied = applied
        self._replayed = replayed
        self._until = until

    @classmethod
    def at_start(cls, *, generation: Generation, partition: int, newest: LedgerRow | None, default: RuleSet) -> RulesInForce:
        """`newest` is the newest applied record below the position, as the store's ledger has it. Raises RuleError."""
        applied = default
        if newest is not None and newest.detail is not None:
            applied = RuleSet.parse(newest.detail, file=f"rules.applied at offset {newest.offset}", applied=True)
        replayed = None
        if generation.rules is not None:
            replayed = RuleSet.parse(generation.rules, file=f"rules of {generation.name}", applied=True)
        return cls(applied, replayed=replayed, until=generation.rules_until.get(str(partition), 0))

    def at(self, offset: int) -> RuleSet:
        """The rules that decide this position."""
        return self._replayed if self._replayed is not None and offset < self._until else self._applied

    def after(self, body: RulesApplied) -> RulesInForce:
        """Once this record has been read."""
        applied = RuleSet.parse(body.rules, file="rules.applied", applied=True)
        return RulesInForce(applied, replayed=self._replayed, until=self._until)
