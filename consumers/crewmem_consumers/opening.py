"""What a consumer works with, opened in order and closed in reverse; what the caller handed in stays open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, Unpack

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.connect import open_dead_letter_log, open_keyring, open_log, open_registry
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.connect import open_store
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_shelf import EmbedderShelf, OpenEmbedder
from crewmem_store.embedders import open_embedder as opens
from crewmem_store.store import Store
from filelock import FileLock, Timeout

from crewmem_consumers.errors import ConsumerRunning
from crewmem_consumers.patience import Patience
from crewmem_consumers.prepare import Preparer
from crewmem_consumers.worker_pool import WorkerPool
from crewmem_consumers.worker_process import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """Started and open. `dead_letter_log` lives on the same loop as `log`."""

    log: EventLog
    dead_letter_log: EventLog
    registry: Registry
    keyring: Keyring
    store: Store
    embedders: EmbedderShelf
    preparer: Preparer


class Given(TypedDict, total=False):
    """What a caller has started already and keeps open, as keywords; what is left out or None is opened and closed here.
    `embedder` is one that is loaded; `open_embedder` opens those of other names; `preparer` does the work on texts elsewhere
    than in worker processes."""

    log: EventLog | None
    registry: Registry | None
    store: Store | None
    embedder: Embedder | None
    open_embedder: OpenEmbedder | None
    preparer: Preparer | None


@asynccontextmanager
async def opened(
    settings: ConsumerSettings, *, patience: Patience | None = None, wait: BrokerWait = NO_WAIT, **given: Unpack[Given]
) -> AsyncIterator[Collaborators]:
    """Opens what is not given; embedders when they are asked for. Raises LogRefused, StoreRefused; with `patience` Stopped,
    without it Unavailable, once brokers were waited for as `wait` says."""
    log, registry, store = given.get("log"), given.get("registry"), given.get("store")
    there = patience.until_done if patience else wait.until_answered
    closing: list[Callable[[], Awaitable[None]]] = []
    try:
        dead_letter_log = open_dead_letter_log(settings)
        closing.append(dead_letter_log.close)
        if log is None:
            log = open_log(settings)
            closing.append(log.close)
            await there(log.start)
        await there(dead_letter_log.start)
        if registry is None:
            registry = open_registry(settings)
            closing.append(registry.close)
            await there(registry.start)
        if store is None:
            opened_store = store = await there(asyncio.to_thread, open_store, settings)
            closing.append(lambda: asyncio.to_thread(opened_store.close))
        open_embedder = given.get("open_embedder") or partial(opens, threads=settings.embedder_threads)
        shelf = EmbedderShelf(open_embedder, ready=given.get("embedder"))
        keyring = open_keyring(settings, registry)
        preparer = given.get("preparer")
        if preparer is None:
            pool = preparer = WorkerPool(Budget(settings.record_seconds, settings.record_megabytes))
            closing.append(lambda: asyncio.to_thread(pool.close))
        yield Collaborators(
            log=log, dead_letter_log=dead_letter_log, registry=registry, keyring=keyring, store=store, embedders=shelf,
            preparer=preparer,
        )  # fmt: skip
    finally:
        for close in reversed(closing):
            await close()


@contextmanager
def only_consumer(settings: ConsumerSettings) -> Iterator[None]:
    """Holds the right to consume the SQLite log; the kernel gives it back when the process dies. Raises ConsumerRunning.

    On Kafka the consumer group shares the work out, and nothing is held here.
    """
    if settings.kafka_bootstrap is not None:
        yield
        return
    path = settings.home / "consumer.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout as error:
        raise ConsumerRunning(
            f"another process consumes the log in {settings.home} (`crewmem up` or `crewmem consume`): stop it, then try again"
        ) from error
