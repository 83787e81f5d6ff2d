"""Sealing in a process that follows no registry otherwise, such as a crew's: one is opened with the first batch, and kept."""

from __future__ import annotations

from collections.abc import Sequence

from crewmem_producers.connect import open_registry, open_sealer
from crewmem_producers.log import Record
from crewmem_producers.registry import Registry
from crewmem_producers.sealing import Sealer
from crewmem_producers.settings import KafkaSettings


class LazySealer:
    """A sealer that opens its own registry when it is first needed. Used on one event loop, and made anew in a forked child."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Nothing is connected yet."""
        self._settings = settings
        self._registry: Registry | None = None
        self._sealer: Sealer | None = None

    async def seal(self, records: Sequence[Record]) -> list[Record]:
        """See `Sealer.seal`. Raises RegistryUnavailable and MasterRetired (try again later), SettingsError, LogRefused."""
        if self._sealer is None:
            self._sealer = await self._open()
        return await self._sealer.seal(records)

    async def close(self) -> None:
        """Safe to call twice; the next `seal` connects again."""
        registry, self._registry, self._sealer = self._registry, None, None
        if registry is not None:
            await registry.close()

    async def _open(self) -> Sealer:
        registry = open_registry(self._settings)
        try:
            await registry.start()
            sealer = open_sealer(self._settings, registry)
        except BaseException:
            await registry.close()
            raise
        assert sealer is not None, "made only where a master key is set"
        self._registry = registry
        return sealer
