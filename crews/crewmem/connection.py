"""What a configuration talks through: one client and one publisher, made at first use."""

from __future__ import annotations

import threading

from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings

from crewmem.client import Client


class Connection:
    """Both ends of one configuration's settings. Nothing is opened before it is used; both notice a fork themselves."""

    def __init__(self, settings: CrewSettings) -> None:
        self._settings = settings
        self.client = Client(settings)
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None

    @property
    def publisher(self) -> Publisher:
        with self._lock:
            if self._publisher is None:
                self._publisher = Publisher(self._settings)
            return self._publisher

    def close(self) -> None:
        """Closes what was opened."""
        self.client.close()
        with self._lock:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()
