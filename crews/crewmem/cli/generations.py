"""`crewmem generations`: the computations of the memory that live, and which of them answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry
from crewmem_producers.settings import StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.options import AsJson

if TYPE_CHECKING:
    from crewmem_store.store import Store

app = typer.Typer(help="The generations of the memory: each is a complete computation from the log.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A generation, such as g2.")]


@dataclass(frozen=True, slots=True)
class _Open:
    log: EventLog
    registry: Registry
    store: Store


@asynccontextmanager
async def _opened() -> AsyncIterator[_Open]:
    settings = load(StoreSettings)
    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        yield _Open(log, registry, store)


@app.command("list")
def list_generations(as_json: AsJson = False) -> None:
    """List the generations that live, how far each is, and which answers recalls."""
    found = asyncio.run(_list())
    if as_json:
        print_json(found)
        return
    if not found:
        note("no generation yet: start a consumer (`crewmem up` or `crewmem consume`)")
        return
    columns = ("name", "", "embedder", "made", "from", "processed", "to do")
    print_table(columns, [_line(generation) for generation in found])


def _line(found: dict[str, Any]) -> tuple[object, ...]:
    said = "answers recalls" if found["active"] else ""
    since = found["since"][:10] if found["since"] else "the start"
    return found["name"], said, found["embedder"], found["created_at"][:16], since, found["processed"], found["lag"]


async def _list() -> list[dict[str, Any]]:
    from crewmem_store import generations, switch

    async with _opened() as open:
        first, ends = await open.log.first(), await open.log.end()
        found = []
        for one in generations.live(open.registry):
            at = await switch.positions(open.log, open.store.reader(one.name))
            found.append(
                {"name": one.name, "active": generations.is_active(open.registry, one.name), "embedder": one.embedder,
                 "dimensions": one.dimensions, "created_at": one.created_at, "since": one.since,
                 "processed": sum(at[p] - first[p] for p in at), "lag": sum(ends[p] - at[p] for p in at)}
            )  # fmt: skip
        return found


@app.command()
def activate(name: Name, as_json: AsJson = False) -> None:
    """Let a generation answer recalls, in every service at once; refused until it has reached what the active one holds."""

    async def run() -> str | None:
        from crewmem_store import switch

        async with _opened() as open:
            return await switch.activate(name, log=open.log, registry=open.registry, store=open.store)

    replaced = asyncio.run(run())
    if as_json:
        print_json({"active": name, "replaced": replaced})
        return
    say(f"{name} answers recalls now" + (f", instead of {replaced}" if replaced else ""))


@app.command()
def drop(name: Name, as_json: AsJson = False) -> None:
    """Let go of a generation: consumers stop consuming it and its tables are removed. Not of the one that answers."""

    async def run() -> None:
        from crewmem_store import switch

        async with _opened() as open:
            await switch.drop(name, registry=open.registry, store=open.store)

    asyncio.run(run())
    if as_json:
        print_json({"dropped": name})
        return
    say(f"{name} is gone; `crewmem replay` can make another one from the log at any time")
