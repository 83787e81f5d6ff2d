"""`crewmem backup`: what cannot be computed again, in a folder or an S3 prefix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from crewmem_producers.errors import SettingsError
from crewmem_producers.log import EventLog
from crewmem_producers.settings import StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.console import counted, note, print_json, say
from crewmem.cli.errors import CheckFailed
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar

if TYPE_CHECKING:
    from crewmem_store.backup.deployment import Deployment
    from crewmem_store.backup.manifest import Manifest
    from crewmem_store.backup.restore import Restored
    from crewmem_store.backup.verify import Verified

app = typer.Typer(help="Copies of log, dead letters and registry, from which all memory can be computed.", no_args_is_help=True)

Place = Annotated[str, typer.Argument(help="A folder or s3://bucket/prefix (reached with CREWMEM_S3_*).", show_default=False)]


@app.command()
def create(place: Place, as_json: AsJson = False) -> None:
    """Make a backup, or add what the log got since the last one. The master key is never in it: keep it elsewhere."""
    settings = load(StoreSettings)
    made = asyncio.run(_create(settings, _place(place)))
    if as_json:
        print_json({"records": made.records(), "files": len(made.parts), "created_at": made.created_at})
    else:
        say(f"in {place}: {counted(made.records(), 'record')} of {counted(made.partitions, 'partition')}, and the registry")


@app.command()
def verify(place: Place, as_json: AsJson = False) -> None:
    """Read a whole backup and check hashes, order, and that nothing ends short; exit code 1 when something is wrong."""
    found = _verify(load(StoreSettings), _place(place))
    if as_json:
        print_json({"records": found.records, "created_at": found.manifest.created_at, "problems": found.problems})
    elif not found.problems:
        say(f"sound: {counted(found.records, 'record')}, made {found.manifest.created_at}")
    if found.problems:
        problems = "\n".join(found.problems)
        raise CheckFailed(f"the backup is not sound: use another copy, or make a new one in another place\n{problems}")


@app.command()
def restore(place: Place, as_json: AsJson = False) -> None:
    """Put a backup into an empty log, every record at its old position, with all that was ever erased left out.

    Do it before `crewmem up`, `crewmem topics create` or any publisher touches the new home or namespace. What is
    interrupted goes on where it was when it is run again.
    """
    done = asyncio.run(_restore(load(StoreSettings), _place(place)))
    if as_json:
        print_json({"records": done.records, "erased_keys": done.erased})
        return
    say(f"{done.records} records are on the log again; {done.erased} data keys were erased and stay so")
    note(
        "next: set CREWMEM_MASTER_KEY if events are sealed, then start consumers (`crewmem up` or `crewmem consume`): they "
        "compute the memory from the log. A store that is older than the backup needs `crewmem replay`",
        style="bold",
    )


def _place(place: str) -> str:
    if "://" in place and not place.startswith("s3://"):
        raise SettingsError(f"a backup lies in a folder or under s3://bucket/prefix, not at {place}")
    return place


async def _create(settings: StoreSettings, place: str) -> Manifest:
    from crewmem_store.backup.create import create as run
    from crewmem_store.connect import open_files

    async with parts.existing_log(settings) as log, _deployment(settings, log) as deployment:
        with progress_bar() as show:
            return await run(open_files(settings, place), deployment, show=show)


def _verify(settings: StoreSettings, place: str) -> Verified:
    from crewmem_store.backup.verify import verify as run
    from crewmem_store.connect import open_files

    with progress_bar() as show:
        return run(open_files(settings, place), show=show)


async def _restore(settings: StoreSettings, place: str) -> Restored:
    from crewmem_producers.topics import ensure_topics
    from crewmem_store.backup.restore import restore as run
    from crewmem_store.connect import open_files

    if settings.kafka_bootstrap:
        for warning in await ensure_topics(settings, wait=parts.broker_wait(settings.kafka_wait_seconds)):
            note(warning, style="yellow")
    async with parts.event_log(settings) as log, _deployment(settings, log) as deployment:
        with progress_bar() as show:
            return await run(open_files(settings, place), deployment, show=show)


@asynccontextmanager
async def _deployment(settings: StoreSettings, log: EventLog) -> AsyncIterator[Deployment]:
    """With dead letters and registry, started."""
    from crewmem_store.backup.deployment import Deployment

    async with parts.dead_letter_log(settings) as letters, parts.registry(settings) as registry:
        yield Deployment(log=log, letters=letters, registry=registry, namespace=settings.namespace)
