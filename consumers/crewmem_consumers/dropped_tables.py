"""Tables of generations that were dropped: every consumer removes them too, so that nothing of one comes back."""

from __future__ import annotations

import asyncio
import logging

from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.registry import Registry
from crewmem_store import generations, switch
from crewmem_store.store import Store

log = logging.getLogger("crewmem.consumer")

AGAIN_SECONDS = 30.0
"""When the store did not answer."""


class DroppedTables:
    """Call `remove` again and again, once this process writes no dropped generation any more."""

    def __init__(self, *, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store
        self._remove_at: dict[str, float] = {}
        self._removed: set[str] = set()

    async def remove(self) -> None:
        """Removes the tables of each dropped generation once: what this process wrote after `drop` had removed them, and what
        an interrupted drop left. It waits a while before that, since services may still finish a call on one."""
        now = asyncio.get_running_loop().time()
        dropped = [one.name for one in generations.everything(self._registry) if one.dropped and one.name not in self._removed]
        for name in dropped:
            if now >= self._remove_at.setdefault(name, now + switch.GRACE_SECONDS):
                await self._remove(name, now)

    async def _remove(self, name: str, now: float) -> None:
        try:
            await asyncio.to_thread(self._store.drop, name)
        except StoreUnavailable as error:
            log.warning("the tables of %s, which was dropped, are still to be removed: %s", name, error)
            self._remove_at[name] = now + AGAIN_SECONDS
        else:
            self._removed.add(name)
