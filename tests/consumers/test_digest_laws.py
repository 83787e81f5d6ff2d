"""Invariant 5: one log gives the same rows, ledger and digest in whatever batches, with restarts or without, in both stores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.events import Event
from crewmem_store.digest import Digest, digest
from crewmem_store.lance import LanceStore
from crewmem_store.memory import MemoryStore
from crewmem_store.store import Store
from support.histories import EVENTS, FACTS, history
from support.keyrings import plain_keyring
from support.pipeline import Pipeline, remember


@dataclass(frozen=True)
class Made:
    digest: Digest
    rows: list[tuple[Any, ...]]
    ledger: Sequence[Any]


def ingested(store: Store, events: Sequence[Event], *, name: str, cuts: Sequence[int] = (), restart: frozenset[int]) -> Made:
    """What one owner makes of it that ends a batch at each cut, and is another one after some of them."""
    pipeline = Pipeline()
    pipeline.append(*events)
    part = store.partition(name, 0, dimensions=pipeline.embedder.dimensions)

    def owner() -> Ingestor:
        return Ingestor(
            generation=replace(pipeline.generation, name=name), partition=0, store=part, embedder=pipeline.embedder,
            dead_letters=pipeline.letters, keyring=plain_keyring(),
        )  # fmt: skip

    ingestor = owner()
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        ingestor = owner() if start in restart else ingestor
        ingestor.process(pipeline.log[start:end])
    reader = store.reader(name)
    rows = [
        (row.id, row.scope, row.outcome, row.duplicate_of, row.text, row.text and (row.superseded_at, row.expires_at))
        for batch in reader.scan(0)
        for row in batch
    ]
    return Made(digest(reader, partitions=1), sorted(rows, key=str), reader.ledger(0, start=0, limit=EVENTS))


@pytest.mark.parametrize("seed", range(3))
def test_batches_restarts_and_stores_make_no_difference(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    events, never = history(dice), frozenset[int]()
    memory, lance = MemoryStore(), LanceStore(str(tmp_path))
    memory.open(namespace="crewmem")
    lance.open(namespace="crewmem")
    expected = ingested(memory, events, name="g1", restart=never)
    assert expected.digest.rows > 5
    cuts = sorted(dice.sample(range(1, EVENTS), 10))
    live = ingested(lance, events, name="g1", cuts=cuts, restart=frozenset(cuts[::3]))
    replayed = ingested(lance, events, name="g2", cuts=sorted(dice.sample(range(1, EVENTS), 6)), restart=never)
    assert live == expected
    assert replayed == expected


def test_the_law_can_fail_where_a_session_is_kept_that_another_owner_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is `epoch`: two owners take turns; one that does not look at it decides from what it remembers."""
    events = [remember(f"{FACTS[0]} {FACTS[number % 3]}", number=number) for number in range(8)]

    def by_turns(folder: str) -> Digest:
        pipeline, store = Pipeline(), LanceStore(str(tmp_path / folder))
        store.open(namespace="crewmem")
        pipeline.append(*events)
        for number, record in enumerate(pipeline.log):
            if number < 2:
                owners.append(Ingestor(
                    generation=pipeline.generation, partition=0, store=store.partition("g1", 0, dimensions=384),
                    embedder=pipeline.embedder, dead_letters=pipeline.letters, keyring=plain_keyring(),
                ))  # fmt: skip
            owners[number % 2].process([record])
        owners.clear()
        return digest(store.reader("g1"), partitions=1)

    owners: list[Ingestor] = []
    memory = MemoryStore()
    memory.open(namespace="crewmem")
    expected = ingested(memory, events, name="g1", restart=frozenset()).digest
    assert by_turns("guarded") == expected
    monkeypatch.setattr("crewmem_store.lance_view.LanceView.epoch", 1)
    assert by_turns("unguarded") != expected
