"""What benchmarks share that do the same work in two ways, in turn: watches, and the ratio of what the two took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RATIO_HEAD = "time with / without (median) | least | p95 |"


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds: on the clock, and of this process on any core."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Took) -> Took:
        return Took(self.wall + other.wall, self.cpu + other.cpu)


class Watch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def took(self) -> Took:
        return Took(time.perf_counter() - self._wall, time.process_time() - self._cpu)


def timed(work: Callable[[], object]) -> Took:
    watch = Watch()
    work()
    return watch.took()


def lines(title: str, without: Sequence[Took], with_: Sequence[Took], *, count: int) -> str:
    """Two lines of a table, by the clock and by CPU seconds: both rates of `count` things, and the rounds' ratios."""
    return "\n".join(
        [
            _line(f"{title}, by the clock", [took.wall for took in without], [took.wall for took in with_], count),
            _line(f"{title}, by CPU seconds", [took.cpu for took in without], [took.cpu for took in with_], count),
        ]
    )


def _line(title: str, without: Sequence[float], with_: Sequence[float], count: int) -> str:
    ratios = [more / less for more, less in zip(with_, without, strict=True)]
    return (
        f"| {title} | {count / np.median(without):,.0f} | {count / np.median(with_):,.0f} | **{np.median(ratios):.2f}** | "
        f"{min(ratios):.2f} | {np.percentile(ratios, 95):.2f} |"
    )
