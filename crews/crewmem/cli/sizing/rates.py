"""What a kickoff costs, as points by the words of its outputs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one kickoff of three tasks costs whose outputs have so many `words` together.

    `log_bytes` on the log, once; `store_bytes` in the tables, ledger included, once they are compacted; `cpu_seconds` of the
    consumer, embedding included; `memories` that are kept of it; `memory_bytes` in a recall service that holds them in memory.
    """

    words: float
    log_bytes: float
    store_bytes: float
    cpu_seconds: float
    memories: float
    memory_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Points by words, where and when they were measured, and the bytes of a recall service before it holds a memory."""

    source: str
    service_bytes: float
    points: Sequence[Point]

    def at(self, words: float) -> Point:
        """Between two points, and beyond the last two, on a straight line; below the first as the first."""
        points = sorted(self.points, key=lambda point: point.words)
        places = [point.words for point in points]
        names = [field.name for field in fields(Point)]
        return Point(**{name: between(places, [getattr(point, name) for point in points], words) for name in names})


def between(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """The value at a place on the line through (place, value) points, in order; below the first as the first."""
    if len(places) == 1 or place <= places[0]:
        return values[0]
    right = min(max(bisect_left(places, place), 1), len(places) - 1)
    left = right - 1
    share = (place - places[left]) / (places[right] - places[left])
    return (1 - share) * values[left] + share * values[right]
