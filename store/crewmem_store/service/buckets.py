"""So much a minute of each name: token buckets, in memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from crewmem_store.errors import RequestRefused

_MOST_NAMES = 10_000
_ROUNDING = 1e-9


class Buckets:
    """Each name has a bucket of `per_minute` tokens that fills again within a minute. Belongs to one event loop."""

    def __init__(self, per_minute: int, *, clock: Callable[[], datetime]) -> None:
        self._size = per_minute
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, count: int = 1) -> int:
        """Take so many tokens and return 0, or take none and return after how many seconds to try again.

        More than the bucket holds is taken from a full one: it then owes tokens, so that the mean rate holds.
        """
        now = self._clock().timestamp()
        level, at = self._levels.get(name, (float(self._size), now))
        level = min(float(self._size), level + max(now - at, 0.0) * self._size / 60)
        lacking = min(count, self._size) - level
        if lacking > _ROUNDING:
            return max(1, math.ceil(lacking * 60 / self._size - _ROUNDING))
        self._levels[name] = (level - count, now)
        self._levels.move_to_end(name)
        if len(self._levels) > _MOST_NAMES:
            self._levels.popitem(last=False)  # the one that was asked longest ago: most likely it is full
        return 0


class RateLimit:
    """At most `per_minute` calls and `per_minute` events of one key; None: as many as it likes."""

    def __init__(self, per_minute: int | None, *, clock: Callable[[], datetime]) -> None:
        self._per_minute = per_minute
        self._calls = Buckets(per_minute or 1, clock=clock)
        self._events = Buckets(per_minute or 1, clock=clock)

    def call(self, key_hash: str) -> None:
        """Count a call. Raise RequestRefused (429 rate_limited) with Retry-After."""
        self._take(self._calls, key_hash, 1, "calls")

    def events(self, key_hash: str, count: int) -> None:
        """Count the events of one call. Raise RequestRefused (429 rate_limited) with Retry-After: then none may be taken."""
        self._take(self._events, key_hash, count, "events")

    def _take(self, buckets: Buckets, key_hash: str, count: int, what: str) -> None:
        if self._per_minute is None or not count:
            return
        if wait := buckets.take(key_hash, count):
            message = f"this key has {self._per_minute} {what} a minute; try again in {wait} s"
            raise RequestRefused(429, "rate_limited", message, headers={"Retry-After": str(wait)})
