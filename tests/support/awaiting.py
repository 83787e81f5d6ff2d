"""Waiting for what happens in another task, thread or process, with a bound that only a fault reaches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], *, what: str, seconds: float = 60.0) -> None:
    """Returns when the condition holds; fails with `what` when it does not for so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.02)
