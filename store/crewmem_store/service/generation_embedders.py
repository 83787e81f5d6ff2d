"""The embedder of each generation that lives, loaded before it is asked for: a switch to another model keeps nobody waiting."""

from __future__ import annotations

import asyncio
import logging

from crewmem_producers.registry import Registry

from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_shelf import EmbedderShelf
from crewmem_store.errors import EmbedderMismatch
from crewmem_store.generations import Generation

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 1.0
AGAIN_SECONDS = 60.0
"""How long a model that could not be loaded is not tried again: asking for it takes seconds."""


class GenerationEmbedders:
    """Belongs to one event loop. `failed` names the live generations whose embedder cannot be had here, and says why."""

    def __init__(self, shelf: EmbedderShelf) -> None:
        self._shelf = shelf
        self._loading: dict[str, asyncio.Task[Embedder]] = {}
        self._again_at: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    async def of(self, generation: Generation) -> Embedder:
        """The generation's embedder; waits while it loads. Raises EmbedderMismatch."""
        found = self._shelf.loaded(generation)
        if found is not None:
            return found
        name, now = generation.name, asyncio.get_running_loop().time()
        if name not in self._loading and name in self.failed and now < self._again_at[name]:
            raise EmbedderMismatch(self.failed[name])
        if name not in self._loading:
            self._loading[name] = asyncio.create_task(self._load(generation))
        return await asyncio.shield(self._loading[name])

    async def follow(self, registry: Registry) -> None:
        """Loads what generations need as they appear in the registry. Runs until it is cancelled."""
        while True:
            live = generations.live(registry)
            for name in self.failed.keys() - {generation.name for generation in live}:
                del self.failed[name]
            for generation in live:
                try:
                    await self.of(generation)
                except EmbedderMismatch as error:
                    logger.debug("%s cannot be answered from: %s", generation.name, error)
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _load(self, generation: Generation) -> Embedder:
        name = generation.name
        try:
            embedder = await asyncio.to_thread(self._shelf.of, generation)
        except EmbedderMismatch as error:
            logger.error("no recall can be answered from %s: %s", name, error)
            self.failed[name] = str(error)
            self._again_at[name] = asyncio.get_running_loop().time() + AGAIN_SECONDS
            raise
        finally:
            del self._loading[name]
        self.failed.pop(name, None)
        return embedder
