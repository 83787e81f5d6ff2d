"""The embedders of the generations that live, as a service loads them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.embedder_shelf import EmbedderShelf
from crewmem_store.errors import EmbedderMismatch, EmbedderUnavailable
from crewmem_store.generations import Generation
from crewmem_store.service import generation_embedders
from crewmem_store.service.generation_embedders import GenerationEmbedders
from support.awaiting import until

HASHING = HashingEmbedder()
FIRST = Generation(
    name="g1", embedder=HASHING.name, embedder_fingerprint=HASHING.fingerprint, dimensions=HASHING.dimensions, partitions=1
)


class Hub:
    """Gives embedders, counts how often it is asked, and may be away."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = False

    def open(self, name: str) -> Embedder:
        self.asked += 1
        if self.is_away:
            raise EmbedderUnavailable(f"no {name} here")
        return HashingEmbedder()


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def embedders(hub: Hub) -> GenerationEmbedders:
    return GenerationEmbedders(EmbedderShelf(hub.open))


async def test_calls_at_the_same_time_wait_for_one_load(hub: Hub, embedders: GenerationEmbedders) -> None:
    found = await asyncio.gather(*(embedders.of(FIRST) for _ in range(5)))
    assert {one.fingerprint for one in found} == {HASHING.fingerprint}
    assert hub.asked == 1


async def test_a_caller_that_gives_up_takes_the_load_from_no_other(hub: Hub, embedders: GenerationEmbedders) -> None:
    first, second = (asyncio.create_task(embedders.of(FIRST)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).fingerprint == HASHING.fingerprint
    assert first.cancelled() and hub.asked == 1


async def test_a_model_that_cannot_be_had_is_asked_for_again_only_after_a_while(
    hub: Hub, embedders: GenerationEmbedders, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.is_away = True
    for _ in range(3):
        with pytest.raises(EmbedderMismatch, match="no hashing"):
            await embedders.of(FIRST)
    assert hub.asked == 1 and "no hashing" in embedders.failed["g1"]
    embedders._again_at["g1"] = 0.0
    with pytest.raises(EmbedderMismatch):
        await embedders.of(FIRST)
    assert hub.asked == 2
    hub.is_away, embedders._again_at["g1"] = False, 0.0
    assert (await embedders.of(FIRST)).fingerprint == HASHING.fingerprint
    assert embedders.failed == {}


async def test_what_generations_need_is_loaded_as_they_appear_and_what_failed_goes_with_them(
    hub: Hub, embedders: GenerationEmbedders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_embedders, "FOLLOW_SECONDS", 0.001)
    registry = SqliteRegistry(tmp_path / "log.sqlite3", namespace="crewmem")
    await registry.start()
    following = asyncio.create_task(embedders.follow(registry))
    try:
        await generations.save(registry, FIRST)
        await until(lambda: hub.asked == 1, what="the first is loaded")
        hub.is_away = True
        other = Generation(name="g2", embedder="other", embedder_fingerprint="x", dimensions=8, partitions=1)
        await generations.save(registry, other)
        await until(lambda: "no other here" in embedders.failed.get("g2", ""), what="the second is missed")
        await generations.save(registry, replace(other, dropped=True))
        await until(lambda: not embedders.failed, what="it is missed no more")
    finally:
        following.cancel()
        await registry.close()
