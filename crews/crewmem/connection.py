"""What a program talks through: one client and one publisher for each destination, shared by whoever names it.

A server may make a MemoryCrew or a Memstore for every request: connections and the relay's thread are made once.
"""

from __future__ import annotations

import threading

from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings

from crewmem.client import Client

OF_ONE_CREW = frozenset({"session", "top_k", "max_tokens", "threshold", "publish_inputs"})
"""Settings that make no difference to a connection."""


class Connection:
    """Both ends of one destination. Nothing is opened before it is used; both notice a fork themselves."""

    def __init__(self, settings: CrewSettings) -> None:
        self.client = Client(settings)
        self.publisher = Publisher(settings)

    def close(self) -> None:
        """Closes what is open; the next use opens it again, and what waits in the outbox is sent then."""
        self.client.close()
        self.publisher.close()


class _Shared:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connections: dict[tuple[tuple[str, object], ...], Connection] = {}


_shared = _Shared()


def connect(settings: CrewSettings) -> Connection:
    """This process's connection for these settings. Raises SettingsError without a usable API key."""
    names = sorted(type(settings).model_fields.keys() - OF_ONE_CREW)
    key = (*((name, getattr(settings, name)) for name in names), ("key", settings.resolved_api_key()))
    with _shared.lock:
        if key not in _shared.connections:
            _shared.connections[key] = Connection(settings)
        return _shared.connections[key]


def close_all() -> None:
    """Closes every connection of this process; each opens again when it is used."""
    with _shared.lock:
        connections = list(_shared.connections.values())
    for connection in connections:
        connection.close()
