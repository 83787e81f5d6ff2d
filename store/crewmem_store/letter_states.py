"""What became of a dead letter: later facts on the log, as the ledger has them."""

from __future__ import annotations

from collections.abc import Iterable

from crewmem_producers.compat import StrEnum
from crewmem_producers.events import BODIES, LATER_FACTS, Body, EventDiscarded, EventRedriven
from crewmem_producers.log import Position

from crewmem_store.rows import LedgerRow, Outcome


class LetterState(StrEnum):
    """OPEN until a later fact says otherwise. PROCESSED: the generation that is asked has read the record after all."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    PROCESSED = "processed"


def of_ledger(rows: Iterable[LedgerRow], *, partition: int) -> dict[int, LetterState]:
    """Offset -> state, for every dead letter among the rows of `StoreReader.letters`; the last fact counts."""
    rows = list(rows)
    said = facts(rows)
    return {
        row.offset: said.get(Position(partition, row.offset), LetterState.OPEN)
        for row in rows
        if row.outcome is Outcome.DEAD_LETTER
    }


def facts(rows: Iterable[LedgerRow]) -> dict[Position, LetterState]:
    """What rows of `event.redriven` and `event.discarded` say, of whichever position."""
    found: dict[Position, LetterState] = {}
    for row in rows:
        if row.type in LATER_FACTS and row.outcome is Outcome.APPLIED and row.detail is not None:
            found |= fact(BODIES[row.type].model_validate_json(row.detail))
    return found


def fact(body: Body | None) -> dict[Position, LetterState]:
    """What one event says of a dead letter; nothing for any other event."""
    match body:
        case EventRedriven(position=position):
            return {Position(position.partition, position.offset): LetterState.REDRIVEN}
        case EventDiscarded(position=position):
            return {Position(position.partition, position.offset): LetterState.DISCARDED}
    return {}
