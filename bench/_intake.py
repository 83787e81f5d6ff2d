"""A log that is taken in batch by batch, each when it is asked for: the consumer's stages over a LanceDB store, no threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from _pairs import Took, Watch
from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.known import KnowingEmbedder, known_of
from crewmem_consumers.metrics import Metrics
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, Record
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings, load
from crewmem_store.embedder import Embedder
from crewmem_store.generations import Generation
from crewmem_store.store import PartitionStore, Store


@asynccontextmanager
async def opened(home: Path, key: str | None = None) -> AsyncIterator[tuple[ConsumerSettings, EventLog, Registry]]:
    """A fresh SQLite log and registry; with a master key what comes from a service is sealed."""
    settings = load(ConsumerSettings, home=home, master_key=key)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    try:
        yield settings, log, registry
    finally:
        await registry.close()
        await log.close()


def generation(name: str, embedder: Embedder) -> Generation:
    return Generation(
        name=name, embedder=embedder.name, embedder_fingerprint=embedder.fingerprint, dimensions=embedder.dimensions,
        partitions=1,
    )  # fmt: skip


class Intake:
    """Takes the log in, into a fresh generation."""

    def __init__(
        self,
        made: Generation,
        *,
        log: EventLog,
        keyring: Keyring,
        store: Store,
        embedder: Embedder,
        siblings: Sequence[Generation] = (),
        wrap: Callable[[PartitionStore], PartitionStore] = lambda partition: partition,
    ) -> None:
        """Vectors are taken over from `siblings`; `wrap` gives what is written to in place of the store's partition."""
        self._log, self._keyring = log, keyring
        self._partition = wrap(store.partition(made.name, 0, dimensions=made.dimensions))
        known = known_of(made, 0, store=store, siblings=siblings)
        self._ingestor = Ingestor(
            generation=made, partition=0, store=self._partition, dead_letters=_NoLetters(), keyring=keyring, known=known,
            embedder=KnowingEmbedder(embedder, known=known, metrics=Metrics()),
        )  # fmt: skip

    async def take(self, count: int) -> Took:
        """The next records, as one batch of the consumer."""
        watch = Watch()
        records = await self._log.read(0, self._ingestor.position(), limit=count)
        await self._keyring.prepare(records)
        self._ingestor.process(records)
        self._ingestor.idle()
        return watch.took()

    def close(self) -> None:
        self._partition.close()


class _NoLetters:
    def send(self, letters: Sequence[Record]) -> None:
        raise SystemExit(f"{len(letters)} events of the benchmark became dead letters")
