"""`crewmem stats`: what became of every record of the log, in numbers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from crewmem_producers.events import utc_now
from crewmem_producers.settings import StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.options import AsJson

if TYPE_CHECKING:
    from crewmem_store.service.progress import PartitionProgress


def stats(as_json: AsJson = False) -> None:
    """Print the generations, and for each partition how far they are and which outcomes their records had."""
    found = asyncio.run(_measure(load(StoreSettings)))
    if as_json:
        print_json(found)
        return
    if not found:
        note("no generation yet: start a consumer (`crewmem up` or `crewmem consume`)")
    for generation in found:
        active = ", which answers recalls" if generation["active"] else ""
        say(
            f"generation {generation['name']}{active}: {generation['embedder']}, made {generation['created_at'][:10]}",
            style="bold",
        )
        _print(generation["partitions"])


def _print(partitions: list[dict[str, Any]]) -> None:
    rows: list[tuple[Any, ...]] = [
        (one["partition"], f"{one['log_start']} to {one['log_end']}", one["processed"], one["lag"], _outcomes(one["outcomes"]))
        for one in partitions
    ]
    total: Counter[str] = Counter()
    for partition in partitions:
        total.update(partition["outcomes"])
    processed, lag = (sum(partition[name] for partition in partitions) for name in ("processed", "lag"))
    rows.append(("all", "", processed, lag, _outcomes(total)))
    print_table(("partition", "offsets", "processed", "to do", "outcomes"), rows)


def _outcomes(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()) if count)


async def _measure(settings: StoreSettings) -> list[dict[str, Any]]:
    from crewmem_store import generations
    from crewmem_store.service.progress import measure

    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        if generations.active_or_none(registry) is None:
            return []
        found = []
        for generation in generations.live(registry):
            measured = await measure(log, store.reader(generation.name), now=utc_now())
            found.append(_described(generation, measured, is_active=generations.is_active(registry, generation.name)))
        return found


def _described(generation: Any, measured: list[PartitionProgress], *, is_active: bool) -> dict[str, Any]:
    names = ("name", "embedder", "created_at", "splitter", "layout_version")
    described = {name: getattr(generation, name) for name in names}
    return described | {"active": is_active, "partitions": [partition.json() for partition in measured]}
