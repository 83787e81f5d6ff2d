"""Whether the bytes of erased data keys are gone from where the registry is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import closing

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.connect import sqlite_path
from crewmem_producers.data_keys import PREFIX
from crewmem_producers.errors import RegistryUnavailable, Unavailable
from crewmem_producers.log_reading import pages
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.started import started


async def left(settings: KafkaSettings, key_ids: Collection[str], *, wait: BrokerWait = NO_WAIT) -> str | None:
    """A sentence that says what is still there of these data keys, which were erased; None when nothing is.

    On Kafka the registry's topic is read from its start; a SQLite file's write-ahead log is emptied. Raises
    RegistryUnavailable.
    """
    if settings.kafka_bootstrap is None:
        return await asyncio.to_thread(_emptied, settings)
    there = await _on_kafka(settings, key_ids, wait)
    if not there:
        return None
    return (
        f"{there} wrapped keys are still in the registry's topic until the brokers compact it (within seconds with the "
        "settings that crewmem gives it; `crewmem topics create` says where they differ)"
    )


async def _on_kafka(settings: KafkaSettings, key_ids: Collection[str], wait: BrokerWait) -> int:
    # Loaded only where there is a broker.
    from crewmem_producers.log_kafka import KafkaLog
    from crewmem_producers.topics import registry_topic

    names = {f"{PREFIX}{id}".encode() for id in key_ids}
    found = 0
    try:
        async with started(KafkaLog(settings, topic=registry_topic(settings.namespace), wait=wait)) as log:
            async for records in pages(log, 0):
                found += sum(record.key in names and b'"wrapped"' in (record.value or b"") for record in records)
    except Unavailable as error:
        raise RegistryUnavailable(f"the registry's topic cannot be read: {error}") from error
    return found


def _emptied(settings: KafkaSettings) -> str | None:
    """Rows that are written over leave no bytes in the file (`secure_delete`), but in its write-ahead log until it is empty."""
    import sqlite3

    from crewmem_producers.sqlite import connect

    path = sqlite_path(settings)
    try:
        with closing(connect(path, schema="")) as connection:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise RegistryUnavailable(f"{path}: {error}") from error
    return f"{path}-wal is in use and still holds wrapped keys" if busy else None
