"""What benchmarks share that compare a consumer with embedding, alone, the strings that it embedded."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _pairs import Took, timed
from crewmem_store.embedder import Embedder
from crewmem_store.embedders import open_embedder
from crewmem_store.rows import Vector

HEAD = "events/s | bare embedder, events/s | ratio (median) | least | p95 |\n|---|---|---|---|---|---|"


class Recorder:
    """An embedder, noting what it is asked for; under another name it is another embedder."""

    def __init__(self, embedder: Embedder, *, name: str | None = None) -> None:
        self._embedder = embedder
        self.name = name or embedder.name
        self.dimensions, self.window_tokens = embedder.dimensions, embedder.window_tokens
        self.fingerprint = embedder.fingerprint if name is None else f"{name}:{embedder.fingerprint}"
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vector:
        self.texts += texts
        return self._embedder.embed(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


@dataclass(frozen=True, slots=True)
class Round:
    strings: int
    work: Took
    floor: Took


def measured(
    work: Callable[[Path, Recorder, int], Coroutine[None, None, Took]], *, number: int, name: str | None = None
) -> list[Round]:
    """Rounds in turn of `work`, given a fresh folder, the real model (under `name`, if given) and a seed, and of its floor."""
    embedder = open_embedder("all-MiniLM-L6-v2")
    embedder.embed(["warm"] * 64)

    found = []
    for seed in range(number):
        recorder = Recorder(embedder, name=name)
        with tempfile.TemporaryDirectory() as folder:
            took = asyncio.run(work(Path(folder), recorder, seed))
        found.append(_against_bare(took, recorder.texts, embedder))
    return found


def _against_bare(work: Took, texts: Sequence[str], embedder: Embedder) -> Round:
    """The floor: the strings at once, sorted by length; on a thread, as a consumer does it. On a busy machine the main thread's
    share of the cores is another one, since OpenMP spins there while it waits."""
    with ThreadPoolExecutor(1) as thread:
        floor = thread.submit(timed, lambda: embedder.embed(sorted(texts, key=len))).result()
    found = Round(len(texts), work, floor)
    print(found, file=sys.stderr)
    return found


def lines(rounds: Sequence[Round], *, count: int) -> str:
    """Two lines of a table, by the clock and by CPU seconds."""
    return "\n".join(
        [
            _line("by the clock", [(one.work.wall, one.floor.wall) for one in rounds], count),
            _line("by CPU seconds of the process", [(one.work.cpu, one.floor.cpu) for one in rounds], count),
        ]
    )


def _line(title: str, pairs: Sequence[tuple[float, float]], count: int) -> str:
    work, floor = (float(np.median([pair[place] for pair in pairs])) for place in (0, 1))
    ratios = [bare / whole for whole, bare in pairs]
    return (
        f"| {title} | {count / work:.1f} | {count / floor:.1f} | **{np.median(ratios):.2f}** | {min(ratios):.2f} | "
        f"{np.percentile(ratios, 95):.2f} |"
    )
