"""What does not fit: a position of the log, of the ledger or of the store that the other two contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crewmem_producers.compat import StrEnum

NAMED = 10_000
"""Misfits that are kept with their names; all are counted."""


class Kind(StrEnum):
    """What is wrong. The first five are of the log and the ledger, the others of the ledger and the rows of memory."""

    MISSING = "missing"
    """A record of the log that the ledger has passed without an outcome."""
    DOUBLED = "doubled"
    """A position with more than one ledger row."""
    LOST = "lost"
    """Positions that the log let go before they were processed."""
    NO_RECORD = "no_record"
    """A ledger row of a position at which the log has no record."""
    OTHER_RECORD = "other_record"
    """The log's record is not the one that the ledger row was made from."""
    TWICE = "twice"
    """An event that was processed at two positions, or a repeat of one that was never processed."""
    CONTRADICTION = "contradiction"
    """A ledger row whose outcome or memories are not what its own spans say; sums that are not those of the rows."""
    ROW_MISSING = "row_missing"
    """A memory, tombstone or marker that the ledger speaks of and the store does not have."""
    ROW_DOUBLED = "row_doubled"
    """Two rows with one id."""
    ROW_UNNAMED = "row_unnamed"
    """A row of memory that no ledger row names."""
    ROW_DIFFERS = "row_differs"
    """A row whose outcome, span or duplicate is not what the ledger says of it."""
    DAMAGED = "damaged"
    """A memory whose text, content or vector is not what was written; files of the store that are gone or cannot be decoded."""
    TEXT_MISSING = "text_missing"
    """A stored memory without text that nothing on the log has forgotten."""
    TEXT_BACK = "text_back"
    """A memory with text that something on the log has forgotten."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """One thing that does not fit, and where."""

    kind: Kind
    partition: int
    offset: int
    says: str
    event_id: str | None = None
    memory_id: str | None = None

    def __str__(self) -> str:
        names = (self.event_id and f"event {self.event_id}", self.memory_id and f"memory {self.memory_id}")
        return ", ".join((f"{self.kind} at {self.partition}/{self.offset}", *filter(None, names))) + f": {self.says}"

    def json(self) -> dict[str, Any]:
        """Every field; the kind by its name."""
        return {
            "kind": self.kind.value, "partition": self.partition, "offset": self.offset, "event_id": self.event_id,
            "memory_id": self.memory_id, "says": self.says,
        }  # fmt: skip


@dataclass(slots=True)
class Misfits:
    """What was found so far: `named` up to NAMED, `counts` of all."""

    named: list[Misfit] = field(default_factory=list)
    counts: Counter[Kind] = field(default_factory=Counter)

    def add(self, misfit: Misfit) -> None:
        """Counts it, and names it while there are not too many."""
        self.counts[misfit.kind] += 1
        if len(self.named) < NAMED:
            self.named.append(misfit)

    def take(self, others: Misfits) -> None:
        """Adds what another walk found."""
        self.counts.update(others.counts)
        self.named += others.named[: max(0, NAMED - len(self.named))]

    def at(self, partition: int) -> Callable[..., None]:
        """`add` for one partition: kind, offset, sentence, and the ids by name."""

        def found(kind: Kind, offset: int, says: str, *, event_id: str | None = None, memory_id: str | None = None) -> None:
            self.add(Misfit(kind, partition, offset, says, event_id, memory_id))

        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How much of one partition was compared: log offsets from `start` to before `end`, `ledger` rows and memory `rows`.

    `before_log` counts ledger rows whose records the log has let go since: they cannot be compared with it any more.
    """

    partition: int
    start: int
    end: int
    records: int
    ledger: int
    rows: int
    before_log: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a walk found. `misfits` names the first NAMED, `counts` has all of them by kind."""

    generation: str
    partitions: tuple[Checked, ...]
    misfits: tuple[Misfit, ...]
    counts: dict[Kind, int]

    @property
    def closes(self) -> bool:
        """Whether nothing was found."""
        return not self.counts

    def json(self) -> dict[str, Any]:
        """Every field, and `closes`: what `crewmem accounting --verify --json` shows."""
        names = Checked.__slots__
        return {
            "generation": self.generation, "closes": self.closes,
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "partitions": [{name: getattr(one, name) for name in names} for one in self.partitions],
            "misfits": [misfit.json() for misfit in self.misfits],
        }  # fmt: skip
