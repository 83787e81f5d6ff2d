"""Measures on this machine what kickoffs cost: real events through the real consumer, with the real model, in a folder that
is gone afterwards."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from pydoc_data.topics import topics

from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_producers.codec import encode
from crewmem_producers.events import Event, KickoffCompleted, TaskOutput, utc_now
from crewmem_producers.log import Record
from crewmem_producers.names import Scope
from crewmem_producers.settings import ConsumerSettings, load
from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.embedders import open_embedder
from crewmem_store.lance_library import lancedb
from crewmem_store.rows import MemoryRow
from crewmem_store.store import StoreReader

from crewmem.cli import parts
from crewmem.cli.sizing.rates import Point, Rates

Progress = Callable[[int, int], None]
"""Told how many kickoffs are done, and of how many."""

KICKOFFS = 200
ROLES = ("Researcher", "Analyst", "Writer")
SESSIONS = 10
ROW_BYTES = 2_000
"""What a recall service holds of a memory beside its text and vector."""
_LOOK_SECONDS = 0.02


def measure(words: int, *, settings: ConsumerSettings, progress: Progress = lambda done, total: None) -> Rates:
    """One point, from KICKOFFS kickoffs whose outputs have so many words together, with the embedder of the settings. Raises
    EmbedderUnavailable."""
    embedder = open_embedder(settings.embedder, threads=settings.embedder_threads)
    embedder.embed(["warm"] * 8)
    with tempfile.TemporaryDirectory() as folder:
        here = load(ConsumerSettings, home=Path(folder), store=str(Path(folder) / "store"), kafka_bootstrap=None)
        records = [encode(kickoff(number, words)) for number in range(KICKOFFS)]
        took = asyncio.run(_consumed(here, records, embedder, progress))
        store_bytes = _compacted(Path(here.store_uri))
    point = Point(
        words=words,
        log_bytes=sum(record.size for record in records) / KICKOFFS,
        store_bytes=store_bytes / KICKOFFS,
        cpu_seconds=took.cpu_seconds / KICKOFFS,
        memories=took.memories / KICKOFFS,
        memory_bytes=took.memory_bytes / KICKOFFS,
    )
    return Rates(source=_source(settings.embedder), service_bytes=_resident(), points=[point])


def kickoff(number: int, words: int) -> Event:
    """A kickoff of three tasks, cut from Python's own manual: English that is nowhere the same."""
    dice = random.Random(f"{words}/{number}")
    outputs = [_passage(dice, max(1, words // len(ROLES))) for _ in ROLES]
    tasks = [
        TaskOutput(index=index, key=f"task-{index}", agent_role=role, raw=raw)
        for index, (role, raw) in enumerate(zip(ROLES, outputs, strict=True))
    ]
    body = KickoffCompleted(crew="size", crew_key="size", raw=outputs[-1], tasks=tasks)
    scope = Scope.of("default", f"session-{number % SESSIONS}")
    return Event(body=body, scope=scope, id=f"size-{words}-{number:06d}", source="size")


_WORDS = " ".join(text for _, text in sorted(topics.items())).split()


def _passage(dice: random.Random, words: int) -> str:
    start = dice.randrange(len(_WORDS))
    return " ".join(_WORDS[(start + place) % len(_WORDS)] for place in range(words))


@dataclass(frozen=True, slots=True)
class _Took:
    cpu_seconds: float
    memories: int
    memory_bytes: int


async def _consumed(settings: ConsumerSettings, records: Sequence[Record], embedder: Embedder, progress: Progress) -> _Took:
    """Until every record is in the ledger."""
    async with parts.event_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        await log.append(records)
        stop, health, began = asyncio.Event(), Health(), time.process_time()
        task = asyncio.create_task(
            run(settings, stop=stop, health=health, log=log, registry=registry, store=store, embedder=embedder)
        )
        while (position := _position(health)) < len(records):
            if task.done():
                task.result()
            progress(position, len(records))
            await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.process_time() - began
        stop.set()
        await task
        rows = _rows(store.reader(generations.active(registry).name))
        return _Took(seconds, len(rows), sum(_held(row, embedder.dimensions) for row in rows))


def _position(health: Health) -> int:
    return sum(status.position or 0 for status in health.partitions.values())


def _rows(reader: StoreReader) -> Sequence[MemoryRow]:
    scopes = reader.scopes("default")
    return reader.rows(scopes, partitions=set(scopes.values())).rows


def _held(row: MemoryRow, dimensions: int) -> int:
    return ROW_BYTES + 4 * dimensions + len((row.text or "").encode()) + len((row.content or "").encode())


def _compacted(store: Path) -> int:
    """Bytes of the store's files once its tables are joined and older versions are gone, as maintenance leaves them."""
    database = lancedb.connect(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody else has this store
        for name in database.list_tables(limit=10_000).tables:
            database.open_table(name).optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def _resident() -> float:
    """The most memory that this process has had: model, libraries and a little work."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _source(embedder: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("crewmem", "lancedb", "torch"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"`crewmem size --measure`, {utc_now():%Y-%m-%d}; {KICKOFFS} kickoffs, {embedder}, {cores} cores "
        f"({platform.machine()}), Python {platform.python_version()}, {versions}"
    )
