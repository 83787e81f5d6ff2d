"""`crewmem.Publisher`: publish events of your own, in the session of the code that publishes them."""

from __future__ import annotations

from dataclasses import replace

from crewmem_producers.events import Event
from crewmem_producers.names import Scope
from crewmem_producers.publisher import Publisher as _Publisher
from crewmem_producers.receipt import Receipt

from crewmem.errors import SessionMissing
from crewmem.sessions import resolve_call


class Publisher(_Publisher):
    """Publish events of one tenant to one destination. Thread-safe; the methods that start with `a` are for asyncio.

    An event with a `scope` belongs to that tenant and session. One without belongs to the kickoff or
    `with crewmem.session(...)` block around the call, else to CREWMEM_SESSION. Arguments are settings.
    """

    def publish(self, *events: Event) -> Receipt:
        """Publish: durable when it returns, in a few milliseconds; the relay sends. All events or none.

        With CREWMEM_DURABILITY=log it waits until the log has acknowledged, at most CREWMEM_FLUSH_SECONDS. Raise
        SessionMissing, InvalidEvent, EventTooLarge, OutboxFull, OutboxBroken; in `log` durability LogUnavailable,
        TransportRefused, EventRefused.
        """
        return super().publish(*map(self._scoped, events))

    def _scoped(self, event: Event) -> Event:
        if event.scope is not None:
            return event
        session = resolve_call(None, default=self._settings.session, required=True).write
        if not session:
            raise SessionMissing("CREWMEM_SESSION is '*', every session, to which nothing is written: pass Event(scope=...)")
        return replace(event, scope=Scope.of(self._settings.tenant, session))
