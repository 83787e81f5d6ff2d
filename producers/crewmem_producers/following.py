"""Keeping a registry's local view up to date."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from crewmem_producers.errors import RegistryUnavailable
from crewmem_producers.trouble import Trouble

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.25
"""How often a registry looks for what other processes wrote."""


class Follower:
    """Calls `refresh` again and again from `start` to `stop`; an outage is one warning, and its end one line."""

    def __init__(self, refresh: Callable[[], Awaitable[None]], *, seconds: float) -> None:
        self._refresh = refresh
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="registry")

    async def stop(self) -> None:
        """Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        trouble = Trouble(
            fails="the registry cannot be followed, its last known state holds",
            works="the registry can be read again",
            logger=logger,
        )
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self._refresh()
            except RegistryUnavailable as error:
                trouble.met(error)
            else:
                trouble.over()
