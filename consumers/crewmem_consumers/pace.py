"""How many records make a batch: as many as a few seconds can do, so that a stop never waits long for a border."""

from __future__ import annotations

TARGET_SECONDS = 2.0
LEAST = 8


class Pace:
    """Learns from what batches took. Nothing that is decided depends on the size of a batch."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._seconds_each: float | None = None

    @property
    def records(self) -> int:
        """The size of the next batch."""
        if not self._seconds_each:
            return min(self._most, 8 * LEAST)
        return max(min(LEAST, self._most), int(min(self._most, TARGET_SECONDS / self._seconds_each)))

    def took(self, records: int, seconds: float) -> None:
        """A batch of so many records took that long; a smooth mean keeps one odd batch from deciding."""
        each = seconds / max(1, records)
        self._seconds_each = each if self._seconds_each is None else 0.5 * (self._seconds_each + each)
