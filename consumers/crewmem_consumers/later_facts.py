"""What the log says of dead letters behind them: which were put on it again, and which were discarded."""

from __future__ import annotations

from dataclasses import dataclass, field

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import LATER_FACTS
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import pages
from crewmem_store.letter_states import LetterState, fact

COPY_OF = "crewmem-redriven"
"""The header of a record that was put on the log again: `<partition>/<offset>` of the letter's own position."""


@dataclass(slots=True)
class LaterFacts:
    """`states` says what an event says of a letter; `copies` are the letters whose record is on the log again, with or
    without such an event: a redrive that was cut off leaves a copy alone."""

    states: dict[Position, LetterState] = field(default_factory=dict)
    copies: set[Position] = field(default_factory=set)

    def note(self, record: LoggedRecord) -> None:
        """Takes one record of the log into account."""
        if (copied := record.header(COPY_OF)) is not None and (position := Position.parse(copied)) is not None:
            self.copies.add(position)
        if record.header("ce_type") in LATER_FACTS:
            try:
                self.states |= fact(codec.decode(record).body)
            except InvalidEvent:
                return  # a dead letter itself


async def read_later_facts(log: EventLog, partition: int, *, start: int) -> LaterFacts:
    """What the partition says from offset `start` to its end as it is now. Raises LogUnavailable."""
    found = LaterFacts()
    async for records in pages(log, partition, start=start):
        for record in records:
            found.note(record)
    return found
