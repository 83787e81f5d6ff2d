"""Which partitions stand still: records wait there, and the position has not moved for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Place = tuple[str, int]
"""Generation and partition."""
STALLED_SECONDS = 300.0
"""A batch is sized for 8 seconds of work at most. On a machine with thirty times the work that it can do it takes four minutes,
and is no stall. Lag monitors call after the same time (docs/monitoring.md)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a partition stands: the offset that is processed next (None before the store has answered), and whether records
    wait there."""

    position: int | None
    waiting: bool


class Stalls:
    """Looks again and again; what it knows is what it saw. Not thread-safe."""

    def __init__(self, *, seconds: float = STALLED_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._seconds = seconds
        self._clock = clock
        self._since: dict[Place, tuple[int | None, float]] = {}

    def look(self, standing: Mapping[Place, Standing]) -> dict[Place, float]:
        """Return the partitions that stand still -> for how many seconds, as far as this has seen; others are forgotten."""
        now, seen = self._clock(), self._since
        self._since = {}
        stalled: dict[Place, float] = {}
        for place, one in standing.items():
            if not one.waiting:
                continue
            position, since = seen.get(place, (one.position, now))
            if position != one.position:
                since = now
            self._since[place] = one.position, since
            if now - since >= self._seconds:
                stalled[place] = now - since
        return stalled
