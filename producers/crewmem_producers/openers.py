"""Who opens sealed events, and with which master keys: `opener/<source>/<process>` in the registry, renewed while it runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta

from crewmem_producers.codec import format_time
from crewmem_producers.events import utc_now
from crewmem_producers.keyring import Keyring
from crewmem_producers.registry import Registry, was_seen
from crewmem_producers.trouble import Trouble

logger = logging.getLogger(__name__)

PREFIX = "opener/"
RENEW_SECONDS = 60.0
LOOK_SECONDS = 2.0
"""How often the keys are looked at: a key file may have changed."""

GONE_AFTER = timedelta(seconds=180)
"""A process that was not seen for so long has ended, or cannot reach the registry."""

KEPT = timedelta(days=1)
"""Its record is taken out of the registry after so long."""


async def announce(registry: Registry, keyring: Keyring, *, source: str, clock: Callable[[], datetime] = utc_now) -> None:
    """Says which master keys this process holds, again when they change, until it is cancelled. Without any it says nothing.

    While it cannot say so, `crewmem keys rotate-master` stops waiting for this process: that is one warning.
    """
    said: tuple[str, ...] = ()
    due = float("-inf")
    trouble = Trouble(
        fails="`crewmem keys rotate-master` may not wait for this process, since it cannot say which master keys it holds",
        works="which master keys are held here is said again",
        logger=logger,
    )
    while True:
        now = asyncio.get_running_loop().time()
        try:
            held = keyring.masters()
            if held and (held != said or now >= due):
                value = {"masters": list(held), "seen_at": format_time(clock())}
                await registry.put(f"{PREFIX}{source}/{os.getpid()}", value)
                said, due = held, now + RENEW_SECONDS
            trouble.over()
        except Exception as error:  # not even a fault may end it in silence
            trouble.met(error)
        await asyncio.sleep(LOOK_SECONDS)


def unaware(registry: Registry, fingerprint: str, *, now: datetime) -> list[str]:
    """The processes that open events and do not hold this master key, as `<source>/<process>`."""
    return sorted(
        name.removeprefix(PREFIX)
        for name, value in registry.items(PREFIX).items()
        if was_seen(value, after=now - GONE_AFTER) and fingerprint not in value.get("masters", ())
    )
