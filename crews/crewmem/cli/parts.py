"""Opens what a command works on, and closes it again."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.errors import SettingsError
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import CrewSettings, KafkaSettings, StoreSettings
from crewmem_producers.started import started

from crewmem.cli.console import note

if TYPE_CHECKING:
    from crewmem_store.store import Store


@functools.cache
def broker_wait(seconds: float) -> BrokerWait:
    """What a command waits for brokers with. One for all that it opens, so that an outage is said once, on stderr."""
    return BrokerWait(seconds=seconds, say=note) if seconds else NO_WAIT


@asynccontextmanager
async def event_log(settings: KafkaSettings) -> AsyncIterator[EventLog]:
    """The event log, started; brokers that do not answer are waited for. Raises LogUnavailable, LogRefused."""
    from crewmem_producers.connect import open_log

    async with started(open_log(settings, wait=broker_wait(settings.kafka_wait_seconds))) as log:
        yield log


@asynccontextmanager
async def existing_log(settings: KafkaSettings) -> AsyncIterator[EventLog]:
    """The event log that services and consumers use; SettingsError where there is none, so that no empty one is made."""
    check_log_exists(settings)
    async with event_log(settings) as log:
        yield log


def check_log_exists(settings: KafkaSettings) -> None:
    """Raise SettingsError where there is no log to work on."""
    from crewmem_producers.connect import sqlite_path

    if not settings.kafka_bootstrap and not sqlite_path(settings).is_file():
        raise SettingsError(
            f"there is no event log in {settings.home}: run this where the log is, with CREWMEM_KAFKA_BOOTSTRAP "
            "or with the CREWMEM_HOME of `crewmem up`"
        )


@asynccontextmanager
async def dead_letter_log(settings: KafkaSettings) -> AsyncIterator[EventLog]:
    """The dead letters' log, started. Raises LogUnavailable, LogRefused."""
    from crewmem_producers.connect import open_dead_letter_log

    async with started(open_dead_letter_log(settings, wait=broker_wait(settings.kafka_wait_seconds))) as log:
        yield log


@asynccontextmanager
async def registry(settings: KafkaSettings) -> AsyncIterator[Registry]:
    """The registry, started. Raises RegistryUnavailable."""
    from crewmem_producers.connect import open_registry

    async with started(open_registry(settings, wait=broker_wait(settings.kafka_wait_seconds))) as opened:
        yield opened


@asynccontextmanager
async def store(settings: StoreSettings) -> AsyncIterator[Store]:
    """The store, opened. Raises StoreUnavailable, StoreRefused."""
    from crewmem_store.connect import open_store

    opened = await asyncio.to_thread(open_store, settings)
    try:
        yield opened
    finally:
        await asyncio.to_thread(opened.close)


@asynccontextmanager
async def existing_store(settings: StoreSettings) -> AsyncIterator[Store | None]:
    """The store, or None where it cannot be reached from here: none is made."""
    if not _is_there(settings.store_uri):
        yield None
        return
    async with store(settings) as opened:
        yield opened


def _is_there(uri: str) -> bool:
    return "://" in uri or Path(uri).expanduser().is_dir()


def call(settings: CrewSettings, method: Literal["GET", "POST", "DELETE"], path: str, **what: Any) -> dict[str, Any]:
    """One call to the recall service, as `crewmem.client.Client.call` makes it; raises what that raises."""
    from crewmem.client import Client

    client = Client(settings)
    try:
        return client.call(method, path, **what)
    finally:
        client.close()
