"""How many records make a batch: as many as a few seconds can do, so that a stop or a crash repeats little."""

from __future__ import annotations

from collections.abc import Callable

ANSWERING_SECONDS = 2.0
"""Of a generation that answers: what waits behind a batch is not recalled before the batch is written."""
BACKGROUND_SECONDS = 8.0
"""Of one that nobody asks yet: its partitions share the cores, and a commit costs about the same for 600 records as for 2,000
(a replay of 40,000 events by 4 partitions took a fifth less CPU time than with 2 seconds)."""
LEAST = 8
COMMIT_SHARE = 0.2
"""What a commit may cost of what its records cost. On a busy machine both take longer and their ratio stays. Without this bound
batches shrink there, and commits make the machine busier still: 246 events a CPU second instead of 820."""
KEPT = 0.8
"""The weight of what is known already, at each batch: the last five decide."""
ALIKE = 0.05
"""Batches whose sizes differ by less than this share of their mean tell nothing of what a commit costs."""
LEAST_SLOPE = 0.05
"""Of the seconds of a batch, the records' part is at least this share: noise must not make them free."""


CLOCK_SECONDS = 1e-6
"""No batch takes less: a clock that stood still must not make records free."""


class Pace:
    """Learns from what batches took, a commit and a record apart. Nothing that is decided depends on the size of a batch."""

    def __init__(self, *, most: int, in_background: Callable[[], bool] = lambda: False) -> None:
        self._most = most
        self._in_background = in_background
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        """Sums over the batches, weighted: sizes, seconds, and their products."""
        self._commit_in_records = 0.0
        """A commit costs as much as so many records."""

    @property
    def records(self) -> int:
        """The size of the next batch."""
        if not self._t:
            return min(self._most, 8 * LEAST)
        target = BACKGROUND_SECONDS if self._in_background() else ANSWERING_SECONDS
        each = self._t / (self._n + self._weight * self._commit_in_records)
        wanted = max(target / each - self._commit_in_records, self._commit_in_records / COMMIT_SHARE)
        return max(min(LEAST, self._most), int(min(self._most, wanted)))

    def took(self, records: int, seconds: float) -> None:
        """A batch of so many records took that long."""
        seconds = max(seconds, CLOCK_SECONDS)
        new = (1.0, records, seconds, records * records, records * seconds)
        old = (self._weight, self._n, self._t, self._nn, self._nt)
        self._weight, self._n, self._t, self._nn, self._nt = (KEPT * was + now for was, now in zip(old, new, strict=True))
        self._learn_commit()

    def _learn_commit(self) -> None:
        """The line through the batches, by least squares: where it meets no records is the commit."""
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        variance = self._nn / self._weight - mean_n**2
        if not mean_t or variance < (ALIKE * mean_n) ** 2:
            return
        slope = (self._nt / self._weight - mean_n * mean_t) / variance
        ratio = mean_t / mean_n
        each = min(max(slope, LEAST_SLOPE * ratio), ratio)
        self._commit_in_records += 0.5 * (mean_t / each - mean_n - self._commit_in_records)
