"""Generations: complete computations of the memory from the log, as the registry lists them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from crewmem_producers.codec import format_time
from crewmem_producers.events import utc_now
from crewmem_producers.registry import Registry

from crewmem_store.embedder import Embedder
from crewmem_store.errors import PartitionsChanged, StoreRefused, UnknownGeneration

LAYOUT_VERSION = 1
ACTIVE = "active"
PREFIX = "generation/"
CLAIM = "generation-claim/"
MAX_LIVE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation. `rules` (a rule file's text) decides every position below `rules_until[str(partition)]`: a replay
    decides anew with the newest rules what older ones decided; from there on the log's `rules.applied` records do.

    Events older than `since` (RFC 3339, by their own time) are dropped. `answered` is whether it was once
    the active one and another took its place.
    """

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
    since: str | None = None
    answered: bool = False
    dropped: bool = False

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Generation:
        """From its registry record; fields of a newer program are left out."""
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})


def everything(registry: Registry) -> list[Generation]:
    """Every generation that there ever was, oldest first."""
    found = [Generation.parse(value) for value in registry.items(PREFIX).values()]
    return sorted(found, key=lambda generation: int(generation.name[1:]))


def live(registry: Registry) -> list[Generation]:
    """Every generation that is not dropped, oldest first."""
    return [generation for generation in everything(registry) if not generation.dropped]


def of(registry: Registry, name: str) -> Generation:
    """The generation of that name, a dropped one too. Raises UnknownGeneration."""
    record = registry.get(PREFIX + name)
    if record is None:
        raise UnknownGeneration(f"there is no generation {name}; `crewmem generations list` shows them")
    return Generation.parse(record)


def is_known(registry: Registry, name: str) -> bool:
    """Whether there ever was a generation of that name."""
    return registry.get(PREFIX + name) is not None


def named(registry: Registry, name: str) -> Generation:
    """The live generation of that name. Raises UnknownGeneration."""
    generation = of(registry, name)
    if generation.dropped:
        raise UnknownGeneration(f"{name} was dropped; `crewmem generations list` shows those that are live")
    return generation


def active(registry: Registry) -> Generation:
    """The generation that answers recalls. Raises UnknownGeneration before the first consumer has started."""
    generation = active_or_none(registry)
    if generation is None:
        raise UnknownGeneration("no generation is active yet: start a consumer (`crewmem consume` or `crewmem up`)")
    return generation


def active_or_none(registry: Registry) -> Generation | None:
    """The generation that answers recalls; None before the first consumer has started."""
    return next((generation for generation in live(registry) if is_active(registry, generation.name)), None)


def is_active(registry: Registry, name: str) -> bool:
    """Whether that generation answers recalls."""
    return (registry.get(ACTIVE) or {}).get("generation") == name


def next_name(registry: Registry, *, taken: Collection[str] = ()) -> str:
    """`g<n>`, larger than that of every generation that there ever was and of those that are `taken`."""
    names = [key.removeprefix(PREFIX) for key in registry.items(PREFIX)]
    return f"g{max((int(name[1:]) for name in (*names, *taken)), default=0) + 1}"


async def claim(registry: Registry, name: str) -> bool:
    """Whether the name is this caller's: of all that ever claim it, the first one has it. Raises RegistryUnavailable."""
    mine = f"{CLAIM}{name}/{uuid.uuid4().hex}"
    await registry.put(mine, {"claimed_at": format_time(utc_now())})
    return next(iter(registry.items(f"{CLAIM}{name}/"))) == mine


async def save(registry: Registry, generation: Generation) -> None:
    """Puts the generation into the registry, in place of what it held of it. Raises RegistryUnavailable."""
    await registry.put(PREFIX + generation.name, asdict(generation))


async def activate(registry: Registry, name: str) -> None:
    """Switches every reader, wherever the generation is; `switch.activate` looks first. Raises UnknownGeneration."""
    named(registry, name)
    record = registry.get(ACTIVE)
    if record is not None and record["generation"] != name:
        before = of(registry, record["generation"])
        if not before.answered:
            await save(registry, replace(before, answered=True))
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


def check_layout(generation: Generation, *, partitions: int) -> None:
    """Refuses a generation of a newer layout, or of another number of partitions. Raises PartitionsChanged, StoreRefused."""
    if generation.layout_version > LAYOUT_VERSION:
        raise StoreRefused(f"{generation.name} has layout {generation.layout_version}: update this program")
    if generation.partitions != partitions:
        raise PartitionsChanged(
            f"{generation.name} was made from {generation.partitions} partitions, the log has {partitions}: "
            "sessions would lie elsewhere. Restore the topic, or run `crewmem replay`."
        )
