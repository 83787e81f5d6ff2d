"""The recall service as a FastAPI application."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from crewmem_producers.connect import open_sealer
from crewmem_producers.events import utc_now
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ServiceSettings
from crewmem_producers.topic_watch import TopicWatch
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from crewmem_store import embedders
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_shelf import EmbedderShelf, OpenEmbedder
from crewmem_store.service import accounting, events, forget, health, listing, recall, remember
from crewmem_store.service.admission import Admission
from crewmem_store.service.answers import handle_errors
from crewmem_store.service.auth import AuthMiddleware
from crewmem_store.service.buckets import RateLimit
from crewmem_store.service.docs import without_422
from crewmem_store.service.fair_pool import FairPool
from crewmem_store.service.freshness import LogEnds
from crewmem_store.service.generation_embedders import GenerationEmbedders
from crewmem_store.service.metrics import Metrics
from crewmem_store.service.parts import Parts, Readers
from crewmem_store.service.producers import ProducerReports
from crewmem_store.service.refusals import Refusals
from crewmem_store.service.unread import UnreadBatches
from crewmem_store.store import Store

logger = logging.getLogger(__name__)

INTAKE_THREADS = 2
"""Checking a batch is work for the interpreter, of which one thread runs at a time: more of them only hold more memory."""
_DESCRIPTION = "Durable shared memory for crews: remember, recall, forget, list. Every error is `{error, message}`."
_ROUTERS = (remember.router, recall.router, forget.router, listing.router, events.router, accounting.router, health.router)


def create_app(
    *,
    settings: ServiceSettings,
    log: EventLog,
    registry: Registry,
    store: Store,
    embedder: Embedder,
    open_embedder: OpenEmbedder | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> FastAPI:
    """The application over collaborators that are started and opened already; it closes none of them.

    What calls write is sealed where the settings hold a master key. `embedder` is one that is loaded; what other generations
    need, `open_embedder` opens. `serve.serve` makes one with collaborators of its own, and declares the keys of the settings
    first. Raises SettingsError, MissingExtra.
    """

    opens = open_embedder or partial(embedders.open_embedder, threads=settings.embedder_threads)
    # FastAPI's own page takes its scripts from a CDN; this one serves them from its package.
    app = FastAPIOffline(redoc_url=None, title="crewmem", version="1", description=_DESCRIPTION, static_url="/docs-assets")
    metrics = Metrics()
    app.state.parts = parts = Parts(
        settings=settings, log=log, registry=registry, store=store, clock=clock,
        embedders=GenerationEmbedders(EmbedderShelf(opens, ready=embedder)), readers=Readers(store), ends=LogEnds(log),
        reads=FairPool(threads=settings.recall_threads, queue=settings.queue_per_tenant, what="recall"),
        intake=FairPool(threads=INTAKE_THREADS, queue=settings.queue_per_tenant, what="intake"),
        admission=Admission(
            seconds=settings.ingest_backlog_seconds, look=lambda: parts.progress(), monotonic=time.monotonic
        ),
        unread=UnreadBatches(monotonic=time.monotonic), rate=RateLimit(settings.rate_limit_per_minute, clock=clock),
        refusals=Refusals(metrics.refused), metrics=metrics,
        producers=ProducerReports(registry, clock=clock), sealer=open_sealer(settings, registry),
        topics=TopicWatch(settings, logger=logger) if settings.kafka_bootstrap else None,
    )  # fmt: skip
    app.state.probes = health.Probes(parts)
    for router in _ROUTERS:
        app.include_router(router)
    handle_errors(app, parts.refusals)
    app.add_middleware(AuthMiddleware, parts=parts)
    app.openapi = without_422(app)  # type: ignore[method-assign]
    return app
