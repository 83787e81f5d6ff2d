"""Who writes a generation on one machine: one process at a time, so that a replay builds beside the consumer that serves."""

from __future__ import annotations

from pathlib import Path

from crewmem_producers.settings import ConsumerSettings
from filelock import FileLock, Timeout


class WritingRights:
    """The rights to write generations of the SQLite log that this process holds. The kernel gives them back when it dies.

    On Kafka the consumer group shares the work out: everybody has every right, and nothing is held here.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    @classmethod
    def of(cls, settings: ConsumerSettings) -> WritingRights:
        """Those over the log that the settings name."""
        return cls(settings.home / "writing" if settings.kafka_bootstrap is None else None)

    def take(self, generation: str) -> bool:
        """Whether this process has the right now; it keeps it until it gives it back."""
        if self._folder is None or generation in self._held:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / f"{generation}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._held[generation] = lock
        return True

    def give_back(self, generation: str) -> None:
        """Harmless when it is not held."""
        lock = self._held.pop(generation, None)
        if lock is not None:
            lock.release()

    def is_elsewhere(self, generation: str) -> bool:
        """Whether somebody else has the right."""
        if generation in self._held:
            return False
        if not self.take(generation):
            return True
        self.give_back(generation)
        return False
