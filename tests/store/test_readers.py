"""The service's readers: one a generation, and none for those that are gone."""

from __future__ import annotations

from crewmem_store.generations import MAX_LIVE
from crewmem_store.memory import MemoryStore
from crewmem_store.service.parts import Readers


def test_a_generation_is_read_through_one_reader() -> None:
    readers = Readers(MemoryStore())
    assert readers.of("g1") is readers.of("g1")
    assert readers.of("g2") is not readers.of("g1")


def test_what_was_read_of_generations_long_gone_is_let_go_of() -> None:
    readers = Readers(MemoryStore())
    first = readers.of("g1")
    for number in range(2, 2 + MAX_LIVE):
        readers.of(f"g{number}")
    assert readers.of("g1") is not first
