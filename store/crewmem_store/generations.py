"""Generations: complete computations of the memory from the log, as the registry lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crewmem_producers.codec import format_time
from crewmem_producers.events import utc_now
from crewmem_producers.registry import Registry

from crewmem_store.embedder import Embedder
from crewmem_store.errors import EmbedderMismatch, PartitionsChanged, StoreRefused, UnknownGeneration

LAYOUT_VERSION = 1
ACTIVE = "active"
PREFIX = "generation/"
MAX_LIVE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation. `rules` (a rule file's text) decides every position below `rules_until[str(partition)]`: a replay
    decides anew with the newest rules what older ones decided; from there on the log's `rules.applied` records do."""

    name: str
    embedder: str
    embedder_fingerprint: str
    dimensions: int
    partitions: int
    splitter: int = 1
    layout_version: int = LAYOUT_VERSION
    created_at: str = field(default_factory=lambda: format_time(utc_now()))
    rules: str | None = None
    rules_until: Mapping[str, int] = field(default_factory=dict)
    dropped: bool = False

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Generation:
        """From its registry record; fields of a newer program are left out."""
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})


def live(registry: Registry) -> list[Generation]:
    """Every generation that is not dropped, oldest first."""
    found = [Generation.parse(value) for value in registry.items(PREFIX).values()]
    return sorted((g for g in found if not g.dropped), key=lambda g: int(g.name[1:]))


def active(registry: Registry) -> Generation:
    """The generation that answers recalls. Raises UnknownGeneration before the first consumer has started."""
    record = registry.get(ACTIVE)
    for generation in live(registry):
        if record is not None and generation.name == record.get("generation"):
            return generation
    raise UnknownGeneration("no generation is active yet: start a consumer (`crewmem consume` or `crewmem up`)")


def next_name(registry: Registry) -> str:
    """`g<n>`, never used before."""
    return f"g{max((int(key.removeprefix(PREFIX)[1:]) for key in registry.items(PREFIX)), default=0) + 1}"


async def save(registry: Registry, generation: Generation) -> None:
    await registry.put(PREFIX + generation.name, asdict(generation))


async def activate(registry: Registry, name: str) -> None:
    """Switches every reader. Raises UnknownGeneration."""
    if name not in {generation.name for generation in live(registry)}:
        raise UnknownGeneration(f"no generation {name} is live; `crewmem stats` lists them")
    await registry.put(ACTIVE, {"generation": name})


async def ensure_first(registry: Registry, *, embedder: Embedder, partitions: int, splitter: int = 1) -> Generation:
    """The active generation; makes `g1` when there is none yet. Two consumers that do so at once write the same record."""
    await registry.refresh()
    if not live(registry):
        first = Generation(
            name="g1", embedder=embedder.name, embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions, partitions=partitions, splitter=splitter,
        )  # fmt: skip
        await save(registry, first)
        await activate(registry, first.name)
    elif registry.get(ACTIVE) is None:
        await activate(registry, live(registry)[0].name)
    return active(registry)


def check(generation: Generation, *, embedder: Embedder, partitions: int) -> None:
    """Refuses what would mix. Raises EmbedderMismatch, PartitionsChanged, StoreRefused."""
    if generation.layout_version > LAYOUT_VERSION:
        raise StoreRefused(f"{generation.name} has layout {generation.layout_version}: update this program")
    if generation.partitions != partitions:
        raise PartitionsChanged(
            f"{generation.name} was made from {generation.partitions} partitions, the log has {partitions}: "
            "sessions would lie elsewhere. Restore the topic, or run `crewmem replay`."
        )
    if generation.embedder_fingerprint != embedder.fingerprint:
        raise EmbedderMismatch(
            f"{generation.name} was written with {generation.embedder}, this process has {embedder.name}. "
            f"Set CREWMEM_EMBEDDER={generation.embedder}, or run `crewmem replay --embedder {embedder.name}`."
        )
