"""Log, registry, store, embedder, consumer and recall service of one machine in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crewmem_producers import local_service
from crewmem_producers.registry import Registry
from crewmem_producers.settings import API_KEY_NAME, ConsumerSettings, ServiceSettings

from crewmem.cli import parts
from crewmem.cli.applied import apply_default_rules
from crewmem.cli.first_master_key import first_master_key
from crewmem.cli.home import bind, keep, kept_key, remedied
from crewmem.cli.listening import local_url, public_url

_LOOK_SECONDS = 0.05

CONSUMER_PATH = "/consumer"
"""Below it the service's port has the health and the metrics of the consumer, which has no port of its own here."""

Working = Callable[[str], AbstractContextManager[None]]
"""Shows that something takes long, for as long as it is open."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a user needs to know of a stack that runs.

    `url` is its address for crews, `local_url` for those of this machine. `new_key` is there only when the key was made just
    now; `new_master_key` says whether the master key was.
    """

    url: str
    local_url: str
    home: Path
    key_file: Path | None
    new_key: str | None
    new_master_key: bool

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80


async def run(
    *,
    service: ServiceSettings,
    consumer: ConsumerSettings,
    stop: asyncio.Event,
    ready: Callable[[Started], None],
    working: Working,
) -> None:
    """Runs until `stop` is set, then stops cleanly; calls `ready` once the service listens.

    Raises AddressInUse before anything is opened, and whatever ends the consumer or the service.
    """
    if service.port:
        bind(service.host, service.port).close()
    async with AsyncExitStack() as opened:
        with working("opening the log and the store"):
            log = await opened.enter_async_context(parts.event_log(service))
            registry = await opened.enter_async_context(parts.registry(service))
            store = await opened.enter_async_context(parts.store(service))
        with working("loading the embedding model"):
            from crewmem_store.embedder_shelf import EmbedderShelf
            from crewmem_store.embedders import open_embedder

            shelf = EmbedderShelf(partial(open_embedder, threads=service.embedder_threads))
            embedder = await asyncio.to_thread(shelf.at_start, registry, default=service.embedder)
        new_key = await first_key(service, registry)
        new_master_key = first_master_key(service, registry)
        await apply_default_rules(log, source=service.source)
        from crewmem_consumers.consumer import run as consume
        from crewmem_consumers.health import Health, create_app
        from crewmem_store.service.serve import serve

        key_file = None if service.admin_key else service.home / API_KEY_NAME
        shared: dict[str, Any] = {
            "log": log, "registry": registry, "store": store, "embedder": embedder, "open_embedder": shelf.named
        }  # fmt: skip

        health = Health()

        def started(url: str) -> None:
            with remedied(service.home):
                local_service.write(service.home, local_url(url))
            ready(Started(public_url(url), local_url(url), service.home, key_file, new_key, new_master_key))

        async def answer() -> None:
            await serve(service, stop=stop, ready=started, mounts={CONSUMER_PATH: create_app(health)}, **shared)

        await _together(
            stop,
            consume(consumer, stop=stop, health=health, **shared),
            once_there_is_a_view(registry, stop, answer),
        )


async def once_there_is_a_view(registry: Registry, stop: asyncio.Event, serve: Callable[[], Awaitable[None]]) -> None:
    """Serves once the consumer has made the first generation: who is told `ready` can recall what is remembered next."""
    from crewmem_store import generations

    while not stop.is_set():
        if generations.active_or_none(registry) is not None:
            return await serve()
        await asyncio.sleep(_LOOK_SECONDS)


async def _together(stop: asyncio.Event, *runs: Coroutine[Any, Any, None]) -> None:
    """Runs them all; when one ends, `stop` ends the others. Raises what ended it."""
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def first_key(settings: ServiceSettings, registry: Registry) -> str | None:
    """Sees to it that the key in the home folder is a key; a key that was made now is returned.

    A key that is kept but that the registry does not know (its file was lost) is put back; a revoked one is replaced.
    """
    from crewmem_store import keys

    if settings.admin_key is not None:
        return None
    kept = kept_key(settings.home)
    known = {key.hash: key for key in keys.list_keys(registry)}
    record = known.get(keys.hash_key(kept)) if kept else None
    if record is not None and record.revoked_at is None:
        return None
    key = kept if kept and record is None else keys.make_key()
    keep(settings.home, API_KEY_NAME, key)
    return await keys.create(
        registry, tenant=settings.tenant, name="up", key=key, sessions=keys.EVERY_SESSION, rights=keys.ALL_RIGHTS
    )
