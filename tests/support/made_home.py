"""A home folder as `crewmem up` leaves it: log, registry and store, made without a model or a process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.events import Event
from crewmem_producers.log import Record
from crewmem_producers.settings import StoreSettings, load
from crewmem_store import generations
from crewmem_store.connect import open_store
from crewmem_store.embedder_hashing import HashingEmbedder
from support.keyrings import plain_keyring
from support.pipeline import Letters, forget, kickoff, remember

SOME: tuple[Event | Record, ...] = (
    remember("Globex raised its seat price to 49 dollars.", number=0),
    kickoff("Acme has 120 people in Lyon.", "Its churn is 3 percent a month.", number=1),
    remember("Globex raised its seat price to 49 dollars.", number=2),
    Record(key=b"default/none", value=b"{", headers=(("ce_id", b"broken"),)),
    forget(("event-00001", "task/0"), number=4),
    remember("It came last.", number=5),
)


def made_home(folder: Path, *, on_log: Sequence[Event | Record] = SOME, waiting: int = 1) -> Path:
    """The folder, with these records on its log; the last `waiting` of them are not processed."""
    asyncio.run(_make(folder, on_log, waiting))
    return folder


async def _make(folder: Path, on_log: Sequence[Event | Record], waiting: int) -> None:
    settings, embedder = load(StoreSettings, home=folder), HashingEmbedder()
    log, registry, store = open_log(settings), open_registry(settings), open_store(settings)
    for part in (log, registry):
        await part.start()
    await log.append([encode(one) if isinstance(one, Event) else one for one in on_log])
    generation = await generations.ensure_first(registry, embedder=embedder, partitions=log.partitions)
    partition = store.partition(generation.name, 0, dimensions=embedder.dimensions)
    ingestor = Ingestor(
        generation=generation, partition=0, store=partition, embedder=embedder, dead_letters=Letters(), keyring=plain_keyring()
    )
    ingestor.process((await log.read(0, 0))[: len(on_log) - waiting])
    partition.close()
    store.close()
    for part in (log, registry):
        await part.close()
