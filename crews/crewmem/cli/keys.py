"""`crewmem keys`: who may ask the recall service for what, and what the log is sealed with."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.events import utc_now
from crewmem_producers.settings import KafkaSettings, load

from crewmem.cli import lost_keys, master_keys, parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.options import AsJson

if TYPE_CHECKING:
    from crewmem_store.keys import Key

app = typer.Typer(help="API keys of the recall service, and the master key that seals the log.", no_args_is_help=True)
app.command()(master_keys.master)
app.command("rotate-master")(master_keys.rotate_master)
app.command()(lost_keys.lost)
_USUAL_RIGHTS = ["read", "write"]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    session: Annotated[
        list[str] | None,
        typer.Option(
            help="Sessions it may use, such as `shared:read` or `project_*:read,write`; `*` stands for any characters. A "
            "pattern without rights has those of --right. Needed, repeatable.",
            show_default=False,
        ),
    ] = None,
    right: Annotated[
        list[str],
        typer.Option(
            help="read, write: for patterns without rights of their own; admin: the account of its tenant; operator: that of "
            "the deployment. Repeatable."
        ),
    ] = _USUAL_RIGHTS,
    tenant: Annotated[str | None, typer.Option(help="Whose memories; default: CREWMEM_TENANT.", show_default=False)] = None,
    expires_in_days: Annotated[float | None, typer.Option(min=0, help="Days until it expires.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: the only time that it can be seen."""
    from crewmem_store import grants
    from crewmem_store.keys import create as create_key

    if not session:
        raise typer.BadParameter(
            "say which sessions the key may use: --session 'project_*' for some, --session shared:read to read only, "
            "--session '*' for every session of the tenant"
        )
    settings = load(KafkaSettings, tenant=tenant)
    expires_at = None if expires_in_days is None else _in_days(expires_in_days)

    async def made() -> str:
        async with parts.registry(settings) as registry:
            return await create_key(
                registry, tenant=settings.tenant, name=name, sessions=session, rights=right, expires_at=expires_at
            )

    key = asyncio.run(made())
    if as_json:
        made_key = {"key": key, "name": name, "tenant": settings.tenant, "sessions": session, "rights": right}
        print_json(made_key | {"expires_at": expires_at})
        return
    sessions = ", ".join(map(str, grants.parse(session, rights=right)))
    more = "".join(f", {one}" for one in right if one not in grants.OF_SESSIONS)
    note(f"key {name!r} of tenant {settings.tenant}: sessions {sessions}{more}; it is not shown again")
    say(key)


def _in_days(days: float) -> datetime:
    try:
        return utc_now() + timedelta(days=days)
    except OverflowError as error:
        raise typer.BadParameter(f"{days:g} days from now is no date") from error


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Print every key: its name, what it may do, and the start of its hash."""
    from crewmem_store.keys import list_keys

    async def listed() -> list[Key]:
        async with parts.registry(load(KafkaSettings)) as registry:
            return list_keys(registry)

    keys = asyncio.run(listed())
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    columns = ("name", "tenant", "sessions", "also", "state", "created", "hash")
    print_table(columns, [_row(key) for key in keys])


def _shown(key: Key) -> dict[str, Any]:
    return {"hash": key.hash, **key.record()}


def _row(key: Key) -> tuple[Any, ...]:
    from crewmem_store.grants import OF_SESSIONS

    if key.revoked_at:
        state = f"revoked {key.revoked_at[:10]}"
    elif not key.lives(utc_now()):
        state = "expired"
    else:
        state = f"until {key.expires_at[:10]}" if key.expires_at else "valid"
    sessions, also = ", ".join(map(str, key.session_grants)), ", ".join(r for r in key.rights if r not in OF_SESSIONS)
    return key.name, key.tenant, sessions, also, state, key.created_at[:10], key.hash[:12]


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its name, the start of its hash, or the key itself.")], as_json: AsJson = False
) -> None:
    """End a key; every service refuses it within seconds, for good."""
    from crewmem_store.keys import revoke as revoke_key

    async def revoked() -> Key:
        async with parts.registry(load(KafkaSettings)) as registry:
            return await revoke_key(registry, key)

    done = asyncio.run(revoked())
    if as_json:
        print_json(_shown(done))
        return
    say(f"revoked {done.name!r} of tenant {done.tenant} ({done.hash[:12]})")
