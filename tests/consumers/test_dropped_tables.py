"""What is left of a dropped generation is removed once, however often the store does not answer before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crewmem_consumers import dropped_tables
from crewmem_consumers.dropped_tables import DroppedTables
from crewmem_producers.errors import StoreUnavailable
from crewmem_store import generations, switch
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from support.registries import DictRegistry

FIRST = Generation(name="g1", embedder="e", embedder_fingerprint="f", dimensions=8, partitions=1)


class Away(MemoryStore):
    """Does not answer the first `times`."""

    def __init__(self, *, times: int) -> None:
        super().__init__()
        self.times = times
        self.asked: list[str] = []

    def drop(self, generation: str) -> None:
        self.asked.append(generation)
        if len(self.asked) <= self.times:
            raise StoreUnavailable("the bucket does not answer")
        super().drop(generation)


@pytest.fixture
async def registry() -> DictRegistry:
    """One generation that is live, and one that was dropped."""
    made = DictRegistry()
    await generations.save(made, FIRST)
    await generations.save(made, replace(FIRST, name="g2", dropped=True))
    await made.refresh()
    return made


async def test_it_is_tried_until_the_store_answers_and_not_again(
    registry: DictRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(dropped_tables, "AGAIN_SECONDS", 0.0)
    store = Away(times=2)
    for name in ("g1", "g2"):
        store.partition(name, 0, dimensions=8)
    tables = DroppedTables(registry=registry, store=store)
    for _ in range(6):
        await tables.remove()
    assert store.asked == ["g2"] * 3
    assert store.generations() == {"g1"}


async def test_services_may_finish_what_they_do_with_it(registry: DictRegistry) -> None:
    store = Away(times=0)
    await DroppedTables(registry=registry, store=store).remove()
    assert store.asked == []
