"""How long a merge of 50 rows takes in tables of 10,000, 100,000 and 1,000,000 rows (`--full`; short: without the last).

The floor is a bare append of the same 50 rows to a table of the same size, in alternating rounds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import lancedb
import numpy as np
from crewmem_producers.names import memory_id
from crewmem_store.lance_database import Database
from crewmem_store.lance_partition import memory_shape
from crewmem_store.lance_rows import memory_table
from crewmem_store.lance_table import OwnedTable
from crewmem_store.rows import MemoryRow

DIMENSIONS, ROWS, SESSION_ROWS, LOAD = 384, 50, 50, 10_000
SHAPE = memory_shape(DIMENSIONS)
START = datetime(2026, 1, 1, tzinfo=UTC)
Milliseconds = list[float]


def made(first: int, count: int) -> Any:
    """Rows as the consumer writes them: 384 dimensions, about 600 characters of text and content."""
    vectors = np.random.default_rng(first).normal(size=(count, DIMENSIONS)).astype(np.float32)
    rows = []
    for number, vector in zip(range(first, first + count), vectors, strict=True):
        scope, event = f"bench/session-{number // SESSION_ROWS}", f"event-{number}"
        text = f"Senior Researcher (2026-01-01): finding {number}. " + "What was found out is said here. " * 8
        rows.append(MemoryRow(
            id=memory_id(0, scope, event, "content"), scope=scope, event_id=event, span="content", offset=number, text=text,
            created_at=START, content=text, vector=vector, source_hash=f"{number:064d}", crew="bench", embedder="bench",
        ))  # fmt: skip
    return memory_table(rows, SHAPE.schema)


def filled(database: Database, name: str, rows: int) -> OwnedTable:
    """A table of that size, compacted."""
    table = OwnedTable(database, name, SHAPE)
    for first in range(0, rows, LOAD):
        table._handle.add(made(first, min(LOAD, rows - first)))
        print(f"{name}: {min(first + LOAD, rows):,} rows", end="\r", file=sys.stderr)
    table.compact()
    table.compact()
    return table


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def measured(rows: int, rounds: int) -> tuple[Milliseconds, Milliseconds]:
    """Merge and bare append of the same rows, one after the other, in tables of the same size."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(folder)
        merged, bare = filled(database, "merged", rows), filled(database, "bare", rows)
        merges, appends = [], []
        for number in range(rounds + 1):  # the first round warms up
            batch = made(rows + number * ROWS, ROWS)
            merges.append(milliseconds(lambda batch=batch: merged.merge(batch)))
            appends.append(milliseconds(lambda batch=batch: bare._handle.add(batch)))
        return merges[1:], appends[1:]


def report(sizes: tuple[int, ...], rounds: int) -> Iterator[str]:
    yield "## How long does a merge of 50 rows take in a large table?"
    yield ""
    yield (
        f"LanceDB {lancedb.__version__} on a folder, {rounds} alternating rounds a size; the floor is a bare append of the "
        "same 50 rows to an equal table, which nothing keeps from inserting twice."
    )
    yield ""
    yield "| rows | merge ms: min / median / p95 | bare append ms: min / median / p95 | ratio of medians | of minima |"
    yield "|---|---|---|---|---|"
    for rows in sizes:
        merges, appends = measured(rows, rounds)
        median = statistics.median(merges) / statistics.median(appends)
        yield f"| {rows:,} | {_three(merges)} | {_three(appends)} | {median:.1f} | {min(merges) / min(appends):.1f} |"


def _three(times: Milliseconds) -> str:
    p95 = statistics.quantiles(times, n=20)[-1]
    return f"{min(times):.1f} / {statistics.median(times):.1f} / {p95:.1f}"


def main() -> None:
    full = "--full" in sys.argv[1:]
    for line in report((10_000, 100_000, 1_000_000) if full else (10_000, 100_000), 40 if full else 20):
        print(line, flush=True)


if __name__ == "__main__":
    main()
