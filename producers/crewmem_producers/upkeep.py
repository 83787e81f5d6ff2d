"""What the registry needs now and then. Whoever opens events does it: a consumer is always there, and may write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from crewmem_producers import erasing, openers, producer_report
from crewmem_producers.events import utc_now
from crewmem_producers.registry import Registry, was_seen
from crewmem_producers.trouble import Trouble

logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0

KEPT = {openers.PREFIX: openers.KEPT, producer_report.PREFIX: producer_report.KEPT}
"""How long a record of these kinds stays after its process or host was seen last."""


async def keep(registry: Registry, *, clock: Callable[[], datetime] = utc_now) -> None:
    """Calls `once` every minute until it is cancelled. Failing is one warning, and one line when it works again."""
    trouble = Trouble(fails="the registry cannot be kept in order", works="the registry is kept in order again", logger=logger)
    while True:
        try:
            await once(registry, now=clock())
            trouble.over()
        except Exception as error:  # not even a fault may end it in silence
            trouble.met(error)
        await asyncio.sleep(EVERY_SECONDS)


async def once(registry: Registry, *, now: datetime) -> None:
    """Erases each data key again that an erasure names and that has come back, and takes away the records of processes and
    hosts that are gone for long. Raises RegistryUnavailable."""
    await erasing.enforce(registry)
    for prefix, kept in KEPT.items():
        for key, value in registry.items(prefix).items():
            if not was_seen(value, after=now - kept):
                await registry.remove(key)
