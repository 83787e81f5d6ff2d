"""`crewmem forget --session X --erase`: the session's data keys go, its rows are nulled, and no file gives the text back."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crewmem_producers import erased_bytes, erasing
from crewmem_producers.erasing import Erasure
from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.freshness import Mark
from crewmem_producers.log import EventLog, Position
from crewmem_producers.names import Scope, memory_id, partition_of
from crewmem_producers.registry import Registry
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import CrewSettings, StoreSettings

from crewmem.cli import parts
from crewmem.cli.key_tenant import key_tenant
from crewmem.cli.outbox_traces import wipe
from crewmem.cli.session_records import of_session

if TYPE_CHECKING:
    from crewmem_store.store import Store

LOOK_SECONDS = 2.0


@dataclass(slots=True)
class Erased:
    """What an erase has done: `keys` are the data keys that this run destroyed, `records` what the log has of the session;
    `pending` says what is still to be waited for, `cannot` what no waiting will do. `key_tenant` is the tenant of the settings'
    API key, None where nobody knows it."""

    session: str
    tenant: str
    key_tenant: str | None
    token: str
    keys: int
    records: int = 0
    pending: list[str] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not self.pending


async def erase(settings: CrewSettings, store_settings: StoreSettings, session: str, *, wait_seconds: float) -> Erased:
    """Erases the session, then looks until nothing is pending or the time is over. Run again, it goes on where it was.

    Raises LogUnavailable, RegistryUnavailable, StoreUnavailable.
    """
    scope = Scope.of(settings.tenant, session)
    until = time.monotonic() + wait_seconds
    async with parts.existing_log(settings) as log, parts.registry(settings) as registry:
        reached = key_tenant(settings, registry)
        erasure, position, keys = await erasing.erase(scope.key, log=log, registry=registry, source=settings.source)
        found = Erased(scope.session, scope.tenant, reached, str(Mark(position.partition, position.offset)), keys)
        async with parts.existing_store(store_settings) as store:
            found.records, plain = await _on_the_log(settings, scope, log, position)
            while True:
                outboxes = await asyncio.to_thread(wipe, settings, scope, key_tenant=reached)
                found.cannot = [*plain, *outboxes.cannot]
                found.pending = [
                    *await _in_the_registry(settings, erasure),
                    *await _in_the_store(store, registry, erasure),
                    *outboxes.pending,
                ]
                if found.done or time.monotonic() >= until:
                    return found
                await asyncio.sleep(LOOK_SECONDS)
                await erasing.touch(registry, erasure)


async def _in_the_registry(settings: CrewSettings, erasure: Erasure) -> list[str]:
    left = await erased_bytes.left(settings, erasure.keys, wait=parts.broker_wait(settings.kafka_wait_seconds))
    return [left] if left else []


async def _in_the_store(store: Store | None, registry: Registry, erasure: Erasure) -> list[str]:
    """A sentence for each generation of which a file may still hold something of the session."""
    from crewmem_store import effects, generations

    if store is None:
        return ["the store cannot be seen from here: set CREWMEM_STORE, or run this where it is"]
    await registry.refresh()
    pending = []
    for generation in generations.live(registry):
        partition = partition_of(erasure.scope_key, generation.partitions)
        id = memory_id(partition, erasure.scope_key, erasure.event_id, effects.MARKER_SPAN)
        try:
            marker = await asyncio.to_thread(store.reader(generation.name).get, id)
        except StoreUnavailable as error:
            pending.append(f"generation {generation.name} cannot be read: {error}")
            continue
        if marker is None:
            pending.append(
                f"generation {generation.name} has not come to the erase: a consumer (`crewmem up`, `crewmem consume`) must "
                f"read partition {partition} up to it"
            )
        elif marker.summary != effects.PURGED:
            pending.append(
                f"generation {generation.name} still cleans the files of partition {partition}; if that lasts, its consumer's "
                "log says what it waits for"
            )
    for key, value in registry.items(generations.PREFIX).items():
        if value.get("dropped"):  # a consumer that was slow to hear of it may have left files
            await asyncio.to_thread(store.drop, key.removeprefix(generations.PREFIX))
    return pending


async def _on_the_log(settings: CrewSettings, scope: Scope, log: EventLog, position: Position) -> tuple[int, list[str]]:
    """How many records the log has of the session; and what of them is plain text, which no erasing takes away."""
    partition = position.partition
    there, plain = await _counted(log, scope, partition, end=position.offset)
    async with parts.dead_letter_log(settings) as letters:
        plain += (await _counted(letters, scope, partition, end=(await letters.end())[partition]))[1]
    if not plain:
        return there, []
    return there, [
        f"{plain} records of the session were written without a master key: they stay on the log, readable to whoever may "
        "read the log; no replay brings them back as memories"
    ]


async def _counted(log: EventLog, scope: Scope, partition: int, *, end: int) -> tuple[int, int]:
    """How many records of the session are below `end`, and how many of them are not sealed."""
    there = plain = 0
    async for record in of_session(log, scope, partition, end=end):
        there += 1
        plain += key_id(record) is None
    return there, plain
