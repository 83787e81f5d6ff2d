"""What one partition of one generation of a `MemoryStore` holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from crewmem_producers.events import RulesApplied

from crewmem_store import effects
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome


@dataclass
class Tables:
    """Rows of memory by id, and ledger rows by offset."""

    memory: dict[str, MemoryRow] = field(default_factory=dict)
    ledger: dict[int, LedgerRow] = field(default_factory=dict)

    def sorted_rows(self) -> list[MemoryRow]:
        """Every row of memory, by offset, span and id."""
        return sorted(self.memory.values(), key=lambda row: (row.offset, row.span, row.id))

    def effective_rows(self) -> list[MemoryRow]:
        """The same, as their sessions' erasures leave them."""
        below = effects.erasures(self.memory.values())
        return [effects.effective(row, below) for row in self.sorted_rows()]

    def ledger_rows(self) -> list[LedgerRow]:
        """Every ledger row, by offset."""
        return [self.ledger[offset] for offset in sorted(self.ledger)]

    def rules(self) -> LedgerRow | None:
        """The newest row of a `rules.applied` record that was applied."""
        applied = (row for row in self.ledger.values() if row.type == RulesApplied.type and row.outcome is Outcome.APPLIED)
        return max(applied, key=lambda row: row.offset, default=None)
