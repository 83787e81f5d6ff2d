"""The recall service as a process: its collaborators, opened as the settings say, behind a port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.events import utc_now
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ServiceSettings
from crewmem_producers.started import started
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from crewmem_store import embedders
from crewmem_store.connect import open_store
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_shelf import EmbedderShelf, OpenEmbedder
from crewmem_store.service.app import create_app
from crewmem_store.service.declared_keys import declare
from crewmem_store.service.server import served
from crewmem_store.store import Store

logger = logging.getLogger(__name__)


def _unheard(url: str) -> None:
    del url


async def serve(
    settings: ServiceSettings,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None] = _unheard,
    log: EventLog | None = None,
    registry: Registry | None = None,
    store: Store | None = None,
    embedder: Embedder | None = None,
    open_embedder: OpenEmbedder | None = None,
    mounts: Mapping[str, ASGIApp] | None = None,
) -> None:
    """Serves until `stop` is set. What is handed in is started already and stays open; the rest is opened here and closed.
    `mounts` are applications that are served below a path of their own, without a key.

    The embedder of the generation that answers is opened, `settings.embedder` only where there is none yet; those of other
    generations follow while it serves.

    Before the first call the registry holds CREWMEM_ADMIN_KEY and the keys of CREWMEM_KEYS_FILE. `ready(url)` is called
    once calls are answered. Raises SettingsError (address, keys), StoreRefused, LogRefused, EmbedderUnavailable, Unavailable.
    """
    async with contextlib.AsyncExitStack() as opened:
        if registry is None:
            registry = await opened.enter_async_context(started(open_registry(settings)))
        await declare(settings, registry, clock=utc_now)
        opens = open_embedder or partial(embedders.open_embedder, threads=settings.embedder_threads)
        shelf = EmbedderShelf(opens, ready=embedder)
        if embedder is None:
            embedder = await run_in_threadpool(shelf.at_start, registry, default=settings.embedder)
        if log is None:
            log = await opened.enter_async_context(started(open_log(settings)))
        app = create_app(
            settings=settings,
            log=log,
            registry=registry,
            store=store or await _store(settings, opened),
            embedder=embedder,
            open_embedder=shelf.named,
        )
        for path, mounted in (mounts or {}).items():
            app.mount(path, mounted)
        for pool in (app.state.parts.reads, app.state.parts.intake):
            opened.callback(pool.close)
        if app.state.parts.sealer is None:
            logger.warning(
                "no master key is set (CREWMEM_MASTER_KEY): events lie on the log as they are, and erasing a session cannot "
                "take their text from there"
            )
        await opened.enter_async_context(_running(app.state.parts.embedders.follow(registry)))
        if app.state.parts.topics is not None:
            await opened.enter_async_context(_running(app.state.parts.topics.watch()))
        port = await opened.enter_async_context(
            served(
                app,
                host=settings.host,
                port=settings.port,
                max_connections=settings.max_connections,
                trusted_proxies=settings.trusted_proxies,
            )
        )
        ready(f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}")
        opened.callback(app.state.parts.readers.stop)  # first of all: what waits for freshness is answered, and not cut off
        await stop.wait()


async def _store(settings: ServiceSettings, opened: contextlib.AsyncExitStack) -> Store:
    store = await run_in_threadpool(open_store, settings)
    opened.push_async_callback(run_in_threadpool, store.close)
    return store


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs beside what is inside, and ends with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
