"""What a program talks through: one client and one publisher for each destination, shared by whoever names it.

A server may make a MemoryCrew or a Memstore for every request: connections and the relay's thread are made once, at first use,
and are kept between requests. One that has an API key for each of its customers does not collect them for ever: of those
that nobody holds any more, only MOST_IDLE are kept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from weakref import WeakSet

from crewmem_producers.destination import outbox_path
from crewmem_producers.errors import OutboxBroken
from crewmem_producers.outbox import Outbox
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings

from crewmem.client import Client

OF_ONE_CREW = frozenset({"session", "top_k", "max_tokens", "threshold", "publish_inputs", "announce"})
"""Settings that make no difference to a connection."""
MOST_IDLE = 32
"""Destinations that nobody holds now and that stay open for who comes back."""


@dataclass(frozen=True, eq=False)
class Connection:
    """Both ends of one destination, for one user. Nothing is opened before it is used; both notice a fork themselves."""

    client: Client
    publisher: Publisher

    def close(self) -> None:
        """Closes what is open; the next use opens it again, and what waits in the outbox is sent then."""
        self.client.close()
        self.publisher.close()


@dataclass(slots=True, eq=False)
class _Destination:
    settings: CrewSettings
    ends: Connection
    users: WeakSet[Connection] = field(default_factory=WeakSet)

    def connection(self) -> Connection:
        """The ends, for one user more."""
        user = Connection(self.ends.client, self.ends.publisher)
        self.users.add(user)
        return user

    def has_work(self) -> bool:
        """Whether events wait in its outbox, which its relay goes on trying to send."""
        path = outbox_path(self.settings)
        if not path.exists():
            return False
        outbox = Outbox(path, max_bytes=self.settings.outbox_max_mb * 1_000_000)
        try:
            return outbox.status().depth > 0
        except OutboxBroken:
            return True
        finally:
            outbox.close()


class _Destinations:
    """Those of this process, the one that was asked for last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[object, _Destination] = {}

    def connection(self, settings: CrewSettings) -> Connection:
        key = _identity(settings)
        with self._lock:
            found = self._known.pop(key, None) or _Destination(settings, Connection(Client(settings), Publisher(settings)))
            self._known[key] = found
            connection = found.connection()
            left = self._take_idle()
        for destination in left:
            destination.ends.close()
        return connection

    def _take_idle(self) -> list[_Destination]:
        """Takes out those to close: asked for longest ago, of nobody's any more, and with nothing left to send."""
        idle = [key for key, destination in self._known.items() if not destination.users]
        surplus = [key for key in idle[: max(len(idle) - MOST_IDLE, 0)] if not self._known[key].has_work()]
        return [self._known.pop(key) for key in surplus]

    def close(self) -> None:
        with self._lock:
            known = list(self._known.values())
        for destination in known:
            destination.ends.close()


_destinations = _Destinations()


def connect(settings: CrewSettings) -> Connection:
    """This process's connection for these settings. Raises SettingsError without a usable API key."""
    return _destinations.connection(settings)


def close_all() -> None:
    """Closes every connection of this process; each opens again when it is used."""
    _destinations.close()


def _identity(settings: CrewSettings) -> object:
    names = sorted(type(settings).model_fields.keys() - OF_ONE_CREW)
    return (*((name, getattr(settings, name)) for name in names), ("key", settings.resolved_api_key()))
