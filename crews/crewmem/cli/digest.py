"""`crewmem digest`: one number for all of a generation's memories, to compare two computations of one log by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from crewmem_producers.settings import StoreSettings, load
from rich.progress import SpinnerColumn, TextColumn

from crewmem.cli import parts
from crewmem.cli.console import counted, note, print_json, say
from crewmem.cli.errors import CheckFailed
from crewmem.cli.options import AsJson
from crewmem.cli.progress import bar_of

if TYPE_CHECKING:
    from crewmem_store.digest import Digest


def digest(
    generation: Annotated[
        str | None, typer.Option(help="Of which generation; default: the one that answers recalls.", show_default=False)
    ] = None,
    expect: Annotated[
        str | None, typer.Option(help="The digest that it must be: exit code 1 when it is another.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a hash over every memory of a generation: two computations of one log with the same rules and embedder agree in it.

    It is the same on SQLite and on Kafka, with one consumer and with several, after any crash and after a replay. Let
    consumers come to the end of the log first.
    """
    name, found = asyncio.run(_digest(load(StoreSettings), generation))
    if as_json:
        print_json({"generation": name, "digest": found.hex, "rows": found.rows})
    else:
        say(found.hex)
        note(f"{counted(found.rows, 'memory', 'memories')} of {name}")
    if expect is not None and expect.strip().lower() != found.hex:
        raise CheckFailed(
            f"the digest of {name} is {found.hex}, not {expect}: its memories are not those that were expected. If consumers "
            "had not come to the log's end (`crewmem stats`), compare again; `crewmem accounting --verify` says what is wrong"
        )


async def _digest(settings: StoreSettings, name: str | None) -> tuple[str, Digest]:
    from crewmem_store import generations
    from crewmem_store.digest import digest as compute

    async with parts.registry(settings) as registry, parts.store(settings) as store:
        generation = generations.active(registry) if name is None else generations.named(registry, name)
        with bar_of(SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f} rows")) as bar:
            task = bar.add_task(f"reading {generation.name}:", total=None)
            found = await asyncio.to_thread(
                compute, store.reader(generation.name), partitions=generation.partitions,
                progress=lambda rows: bar.advance(task, rows),
            )  # fmt: skip
        return generation.name, found
