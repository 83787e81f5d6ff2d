"""The end of a kickoff: its events are published and the log is waited for, and what went wrong is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from crewmem_producers.errors import CrewmemError, TransportRefused
from crewmem_producers.events import Event
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings

logger = logging.getLogger("crewmem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """`ids` of the events, whether the log has `acknowledged` them, how many of this outbox are `waiting` if not, and the
    `problem` that the crew shall be stopped with."""

    ids: tuple[str, ...] = ()
    acknowledged: bool = False
    waiting: int = 0
    problem: CrewmemError | None = None


def send(events: Sequence[Event], *, publisher: Publisher, settings: CrewSettings, strict: bool) -> Sent:
    """Publishes, and waits for the log as long as CREWMEM_FLUSH_SECONDS says. Raises nothing: a problem is in what it returns,
    with CREWMEM_DURABILITY=log an outage too, with `strict` only what was refused. Each is logged."""
    if not events:
        return Sent()
    ids: tuple[str, ...] = ()
    try:
        receipt = publisher.publish(*events)
        ids = receipt.ids
        if not publisher.flush(settings.flush_seconds):
            return _unsent(ids, publisher, strict=strict)
        receipt.token(0)  # raises where the log refused the event for ever
    except CrewmemError as error:
        logger.error("the kickoff is not published: %s", error)
        return Sent(ids=ids, problem=error if strict or settings.durability == "log" else None)
    return Sent(ids=ids, acknowledged=True)


def _unsent(ids: tuple[str, ...], publisher: Publisher, *, strict: bool) -> Sent:
    """An outage is waited out by the relay; a refused key is an error at every kickoff."""
    status = publisher.status()
    if not status.caller_refused:
        return Sent(ids=ids, waiting=status.depth)
    logger.error("the kickoff is not published: %s", status.error)
    return Sent(ids=ids, waiting=status.depth, problem=TransportRefused(status.error or "refused") if strict else None)
