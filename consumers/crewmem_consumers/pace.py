"""How many records make a batch: as many as a few seconds can do, so that a stop or a crash repeats little."""

from __future__ import annotations

from collections.abc import Callable

ANSWERING_SECONDS = 2.0
"""Of a generation that answers: what waits behind a batch is not recalled before the batch is written."""
BACKGROUND_SECONDS = 8.0
"""Of one that nobody asks yet: its partitions share the cores, and a commit costs about the same for 600 records as for 2,000
(a replay of 40,000 events by 4 partitions took a fifth less CPU time than with 2 seconds)."""
LEAST = 8


class Pace:
    """Learns from what batches took. Nothing that is decided depends on the size of a batch."""

    def __init__(self, *, most: int, in_background: Callable[[], bool] = lambda: False) -> None:
        self._most = most
        self._in_background = in_background
        self._seconds_each: float | None = None

    @property
    def records(self) -> int:
        """The size of the next batch."""
        if not self._seconds_each:
            return min(self._most, 8 * LEAST)
        target = BACKGROUND_SECONDS if self._in_background() else ANSWERING_SECONDS
        return max(min(LEAST, self._most), int(min(self._most, target / self._seconds_each)))

    def took(self, records: int, seconds: float) -> None:
        """A batch of so many records took that long; a smooth mean keeps one odd batch from deciding."""
        each = seconds / max(1, records)
        self._seconds_each = each if self._seconds_each is None else 0.5 * (self._seconds_each + each)
