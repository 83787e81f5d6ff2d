"""Each generation has its own embedder, and each is loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewmem_producers.connect import open_registry
from crewmem_producers.settings import KafkaSettings
from crewmem_store import generations
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.embedder_shelf import EmbedderShelf
from crewmem_store.errors import EmbedderMismatch, EmbedderUnavailable
from crewmem_store.generations import Generation


class Sized(HashingEmbedder):
    def __init__(self, name: str) -> None:
        super().__init__(dimensions=int(name.removeprefix("hashing")))
        self.name = name


class Shop:
    """Opens by name, and notes it."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, name: str) -> Sized:
        self.opened.append(name)
        if not name.startswith("hashing"):
            raise EmbedderUnavailable(f"no {name} here")
        return Sized(name)


def generation(name: str, *, fingerprint: str | None = None) -> Generation:
    made = fingerprint or Sized(name).fingerprint
    return Generation(name="g1", embedder=name, embedder_fingerprint=made, dimensions=8, partitions=1)


def test_a_model_is_loaded_when_it_is_first_asked_for_and_once() -> None:
    shop = Shop()
    shelf = EmbedderShelf(shop)
    assert shelf.loaded(generation("hashing8")) is None
    assert shelf.of(generation("hashing8")) is shelf.of(generation("hashing8")) is shelf.loaded(generation("hashing8"))
    assert shelf.named("hashing8") is shelf.of(generation("hashing8"))
    assert shop.opened == ["hashing8"]


def test_one_that_is_loaded_already_is_not_opened_again() -> None:
    shop = Shop()
    assert EmbedderShelf(shop, ready=Sized("hashing8")).of(generation("hashing8")).dimensions == 8
    assert shop.opened == []


def test_a_model_that_cannot_be_had_is_refused_with_the_remedies() -> None:
    with pytest.raises(EmbedderMismatch, match=r"no other here.*generations activate.*replay --embedder") as refused:
        EmbedderShelf(Shop()).of(generation("other", fingerprint="other-1"))
    assert isinstance(refused.value.__cause__, EmbedderUnavailable)


def test_a_model_of_the_name_but_with_other_weights_is_refused() -> None:
    with pytest.raises(EmbedderMismatch, match=r"hashing-9.*replay --embedder hashing8"):
        EmbedderShelf(Shop()).of(generation("hashing8", fingerprint="hashing-9"))


async def test_a_process_begins_with_what_the_generation_that_answers_needs(tmp_path: Path) -> None:
    registry = open_registry(KafkaSettings(home=tmp_path))
    await registry.start()
    assert EmbedderShelf(Shop()).at_start(registry, default="hashing16").name == "hashing16"
    await generations.ensure_first(registry, embedder=Sized("hashing8"), partitions=1)
    assert EmbedderShelf(Shop()).at_start(registry, default="hashing16").name == "hashing8"
    await registry.close()
