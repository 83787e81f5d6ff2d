"""What every program of the fleet does around its own work."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from crewmem_producers.errors import Unavailable

UNAVAILABLE = 3
"""Exit status of a process whose surroundings were away when it started: whoever started it starts it again."""


def up(ready: Path) -> Path:
    """The file that a process with that ready file makes once it can be told to end."""
    return ready.with_suffix(".up")


def border(ready: Path, step: str) -> Path:
    """The file that a process with that ready file touches when it begins to stand still at a step."""
    return ready.with_suffix(f".{step}")


def logged() -> dict[str, Any]:
    """The program's first argument, JSON, as it was told; from here on it logs to where its output goes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    told: dict[str, Any] = json.loads(sys.argv[1])
    return told


def run(main: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Runs it with what it is told, and exits with UNAVAILABLE where what it needs is away."""

    async def started() -> None:
        await main(logged())

    try:
        asyncio.run(started())
    except Unavailable:
        logging.exception("what it needs to start is away")
        sys.exit(UNAVAILABLE)
