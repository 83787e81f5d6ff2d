"""The order in which the parts of `crewmem up` start."""

from __future__ import annotations

import asyncio
from pathlib import Path

from crewmem.cli.stack import once_there_is_a_view
from crewmem_producers.connect import open_registry
from crewmem_producers.settings import KafkaSettings, load
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder


async def test_the_service_starts_once_a_generation_answers(tmp_path: Path) -> None:
    registry, served = open_registry(load(KafkaSettings, home=tmp_path)), asyncio.Event()
    await registry.start()

    async def serve() -> None:
        served.set()

    starting = asyncio.create_task(once_there_is_a_view(registry, asyncio.Event(), serve))
    try:
        await asyncio.sleep(0.2)
        assert not served.is_set()
        await generations.ensure_first(registry, embedder=HashingEmbedder(), partitions=1)
        await asyncio.wait_for(starting, 60)
        assert served.is_set()
    finally:
        starting.cancel()
        await registry.close()


async def test_a_stop_before_that_starts_no_service(tmp_path: Path) -> None:
    registry, stop = open_registry(load(KafkaSettings, home=tmp_path)), asyncio.Event()
    await registry.start()

    async def serve() -> None:
        raise AssertionError("served without a view")

    stop.set()
    try:
        await once_there_is_a_view(registry, stop, serve)
    finally:
        await registry.close()
