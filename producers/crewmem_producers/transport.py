"""The way from the outbox to the log.

`Transport` is the contract; `transport_http.HttpTransport` (through the recall service), `transport_kafka.KafkaTransport` (to
the log itself) and `transport_memory.MemoryTransport` (for tests) keep it, and `tests/producers/conformance_transport.py` of
the source distribution is its suite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from crewmem_producers.events import Event


@dataclass(frozen=True, slots=True)
class Delivered:
    """The log has acknowledged the event; `token` is its freshness token."""

    token: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination will never take the event; `reason` says why."""

    reason: str


Fate = Delivered | Refused


@dataclass(frozen=True, slots=True)
class RelayReport:
    """How a producer's outbox stands: events that wait (behind the batch that is leaving), age of the oldest in seconds,
    version of crewmem."""

    depth: int
    oldest_seconds: float
    version: str


class Transport(Protocol):
    """Used by one task on one event loop. It connects at the first `send` or `report`, and again after a failure."""

    async def send(self, events: Sequence[Event]) -> list[Fate]:
        """Sends in order, at most 500 events; the fate of each, in order, once the log has acknowledged.

        Raises Unavailable (try again later: some may be on the log, a repeat is harmless) and TransportRefused (the
        caller, not an event, is refused: nothing changes until somebody mends a setting).
        """

    async def report(self, report: RelayReport) -> None:
        """Makes known how the outbox stands; cheap enough to call before every batch. It may be said beside or
        with the next batch. Raises Unavailable, TransportRefused."""

    async def close(self) -> None:
        """Frees connections; safe to call twice, and the next `send` connects again."""


TransportFactory = Callable[[], Transport]
"""Makes a transport of a process's own: a forked child must not share its parent's."""
