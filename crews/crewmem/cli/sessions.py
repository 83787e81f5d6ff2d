"""`crewmem sessions`: which sessions there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.codec import format_time
from crewmem_producers.names import Scope
from crewmem_producers.settings import StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table
from crewmem.cli.options import AsJson

if TYPE_CHECKING:
    from crewmem_store.store import StoreReader

app = typer.Typer(help="The sessions of this tenant.", no_args_is_help=True)


@app.command("list")
def list_sessions(
    prefix: Annotated[str, typer.Option(help="Only those whose name begins so.")] = "", as_json: AsJson = False
) -> None:
    """Print the sessions of CREWMEM_TENANT that have memories: how many, and the newest. Run it where the store is."""
    found = asyncio.run(_list(prefix, load(StoreSettings)))
    if as_json:
        print_json(found)
    elif not found:
        note("no session has a memory yet" if not prefix else f"no session that begins with {prefix!r} has a memory")
    else:
        print_table(("session", "memories", "newest"), [(one["session"], one["memories"], one["newest"]) for one in found])


async def _list(prefix: str, settings: StoreSettings) -> list[dict[str, Any]]:
    from crewmem_store import generations

    async with parts.existing_log(settings), parts.registry(settings) as registry, parts.store(settings) as store:
        active = generations.active_or_none(registry)
        return (
            [] if active is None else await asyncio.to_thread(sessions_of, store.reader(active.name), settings.tenant, prefix)
        )


def sessions_of(reader: StoreReader, tenant: str, prefix: str) -> list[dict[str, Any]]:
    """Each session of the tenant with memories whose name begins with `prefix`, the one with the newest memory first:
    `session`, `memories` (expired and superseded ones too) and `newest` (UTC). Blocks. Raises StoreUnavailable."""
    found = []
    for text, partition in reader.scopes(tenant).items():
        scope = Scope.parse(text)
        if scope.session.startswith(prefix) and (rows := reader.rows([text], partitions=[partition]).rows):
            newest = format_time(max(row.created_at for row in rows))
            found.append({"session": scope.session, "memories": len(rows), "newest": newest})
    return sorted(found, key=lambda one: one["newest"], reverse=True)
