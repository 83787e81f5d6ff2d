"""A transport without a log, for tests of programs that publish: it keeps what it is given."""

from __future__ import annotations

from collections.abc import Sequence

from crewmem_producers.errors import CrewmemError
from crewmem_producers.events import Event
from crewmem_producers.transport import Delivered, Fate, Refused, RelayReport


class MemoryTransport:
    """`events` is what was delivered, in order. `failure`, when set, is raised by `send` instead; `refuse` names event ids
    that are refused for ever. Hand it to a publisher with `Publisher(settings, transport=lambda: memory)`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.reports: list[RelayReport] = []
        self.failure: CrewmemError | None = None
        self.refuse: set[str] = set()

    async def send(self, events: Sequence[Event]) -> list[Fate]:
        """See `Transport.send`. Tokens count the events on partition 0; a repeated id gets its first token again."""
        if self.failure is not None:
            raise self.failure
        return [self._deliver(event) for event in events]

    async def report(self, report: RelayReport) -> None:
        self.reports.append(report)

    async def close(self) -> None:
        """Nothing to free."""

    def _deliver(self, event: Event) -> Fate:
        if event.id in self.refuse:
            return Refused("refused by the test")
        known = [offset for offset, other in enumerate(self.events) if other.id == event.id]
        if not known:
            self.events.append(event)
        return Delivered(f"1.0.{known[0] if known else len(self.events) - 1}")
