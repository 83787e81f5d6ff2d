"""What `crewmem doctor` checks of the parts that this machine reaches: log, registry, sealing, store, embedder, consumer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from crewmem_producers.errors import CrewmemError
from crewmem_producers.log import EventLog
from crewmem_producers.producer_report import reports
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ServiceSettings

from crewmem.cli import parts
from crewmem.cli.checks import Finding, State, failed
from crewmem.cli.console import counted
from crewmem.cli.consumer_check import START, consumer
from crewmem.cli.memory_check import memory
from crewmem.cli.sealing_check import sealing

if TYPE_CHECKING:
    from crewmem_store.generations import Generation
    from crewmem_store.store import Store


async def parts_here(settings: ServiceSettings) -> list[Finding]:
    """Everything from the log to the consumer; one finding where this machine only talks to a service elsewhere."""
    from crewmem_producers.connect import sqlite_path

    if not settings.kafka_bootstrap and not sqlite_path(settings).is_file():
        return [Finding("log", State.SKIP, f"none on this machine ({sqlite_path(settings)}); only the service is checked")]
    settings = settings.model_copy(update={"kafka_wait_seconds": 0.0})  # what does not answer now is what it says
    findings: list[Finding] = []
    async with AsyncExitStack() as opened:
        log = await _log(settings, opened, findings)
        registry = await _registry(settings, opened, findings)
        store = await _store(settings, opened, findings)
        if registry:
            findings.append(sealing(settings, registry))
        generation = _generation(settings, registry, findings) if registry else None
        await _embedder(settings, generation, findings)
        if log and store and generation:
            findings.append(await consumer(settings, log, store, generation))
            findings.append(await memory(store, generation))
            await _dead_letters(store, generation, findings)
    return findings


async def _log(settings: ServiceSettings, opened: AsyncExitStack, findings: list[Finding]) -> EventLog | None:
    where = settings.kafka_bootstrap or str(settings.home)
    try:
        log = await opened.enter_async_context(parts.event_log(settings))
        end = await log.end()
    except CrewmemError as error:
        findings.append(failed("log", error))
        return None
    said = f"{where}: {counted(sum(end.values()), 'record')} in {counted(log.partitions, 'partition')}"
    findings.append(Finding("log", State.OK, said))
    if settings.kafka_bootstrap:
        findings.append(await _topics(settings))
    return log


async def _topics(settings: ServiceSettings) -> Finding:
    from crewmem_producers.topics import check_topics

    try:
        warnings = await check_topics(settings)
    except CrewmemError as error:
        return failed("topics", error)
    if warnings:
        return Finding("topics", State.WARN, "usable", "; ".join(warnings))
    return Finding("topics", State.OK, f"those of namespace {settings.namespace} are as crewmem needs them")


async def _registry(settings: ServiceSettings, opened: AsyncExitStack, findings: list[Finding]) -> Registry | None:
    try:
        registry = await opened.enter_async_context(parts.registry(settings))
    except CrewmemError as error:
        findings.append(failed("registry", error))
        return None
    keys, hosts = len(registry.items("apikey/")), len(reports(registry))
    findings.append(Finding("registry", State.OK, f"{counted(keys, 'API key')}, {counted(hosts, 'host')} that published"))
    return registry


async def _store(settings: ServiceSettings, opened: AsyncExitStack, findings: list[Finding]) -> Store | None:
    try:
        store = await opened.enter_async_context(parts.store(settings))
    except CrewmemError as error:
        findings.append(failed("store", error))
        return None
    findings.append(Finding("store", State.OK, settings.store_uri))
    return store


def _generation(settings: ServiceSettings, registry: Registry, findings: list[Finding]) -> Generation | None:
    from crewmem_store import generations

    try:
        active = generations.active(registry)
    except CrewmemError as error:
        findings.append(Finding("generation", State.WARN, str(error), START))
        return None
    others = [generation.name for generation in generations.live(registry) if generation.name != active.name]
    said = f"{active.name} answers recalls" + (f"; {', '.join(others)} kept beside it" if others else "")
    findings.append(Finding("generation", State.OK, said))
    return active


async def _embedder(settings: ServiceSettings, generation: Generation | None, findings: list[Finding]) -> None:
    """The model of the generation that answers, as consumers and services take it; the setting only where there is none yet."""
    from crewmem_store.embedder_shelf import EmbedderShelf
    from crewmem_store.embedders import open_embedder

    shelf = EmbedderShelf(partial(open_embedder, threads=settings.embedder_threads))
    try:
        if generation is None:
            embedder = await asyncio.to_thread(shelf.named, settings.embedder)
        else:
            embedder = await asyncio.to_thread(shelf.of, generation)
        await asyncio.to_thread(embedder.embed, ["a word"])
    except CrewmemError as error:
        findings.append(failed("embedder", error))
        return
    of = f", the model of {generation.name}" if generation else ""
    findings.append(Finding("embedder", State.OK, f"{embedder.name}, {embedder.dimensions} dimensions{of}"))


async def _dead_letters(store: Store, generation: Generation, findings: list[Finding]) -> None:
    from crewmem_store.letter_states import LetterState, of_ledger

    reader = store.reader(generation.name)
    try:
        rows = [(p, await asyncio.to_thread(reader.letters, p)) for p in range(generation.partitions)]
    except CrewmemError as error:
        findings.append(failed("dead letters", error))
        return
    states = [state for partition, found in rows for state in of_ledger(found, partition=partition).values()]
    if count := states.count(LetterState.OPEN):
        findings.append(Finding("dead letters", State.WARN, f"{count} open", "`crewmem dlq list` shows them, and why"))
    else:
        findings.append(Finding("dead letters", State.OK, f"none open, {len(states)} settled" if states else "none"))
