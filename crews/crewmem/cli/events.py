"""`crewmem events`: what happened, and what was made of it."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from crewmem_producers.codec import parse_time
from crewmem_producers.display import visible_line
from crewmem_producers.errors import SettingsError
from crewmem_producers.events import utc_now
from crewmem_producers.settings import StoreSettings, load
from crewmem_producers.writer import shown

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.event_list import Filters, newest
from crewmem.cli.options import AsJson
from crewmem.cli.story import Sources, story

app = typer.Typer(help="The events on the log.", no_args_is_help=True)


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="Id of an event or a memory, or a position such as 3/1207.")],
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of an event: its record, its outcome in every generation and why, its memories since."""
    told = asyncio.run(_tell(event, load(StoreSettings)))
    if as_json:
        print_json(told)
        return
    for record in told:
        _print_record(record)
        for generation in record["generations"]:
            _print_generation(generation)


@app.command("list")
def list_events(
    session: Annotated[str | None, typer.Option("--session", "-s", help="Only of this session.", show_default=False)] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only of this type, such as kickoff.completed.", show_default=False)
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only with this outcome, such as dead_letter or stored.", show_default=False)
    ] = None,
    crew: Annotated[str | None, typer.Option(help="Only of the crew with this name.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only what the log took since then (RFC 3339; UTC by default).", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, at most: the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print the newest events of the log, oldest first, with what became of each. Run it where the log is."""
    try:
        filters = Filters(
            session=session, type=type_, outcome=outcome, crew=crew, since=None if since is None else parse_time(since)
        )
    except ValueError as error:
        raise SettingsError(f"--since: {error}") from error
    found = asyncio.run(_list(filters, limit, load(StoreSettings)))
    if as_json:
        print_json(found)
        return
    if not found:
        note("no event fits")
        return
    columns = ("position", "logged_at", "type", "outcome", "session", "crew", "source", "event_id")
    shown_rows = [[one[name] if name != "outcome" else one[name] or "waits" for name in columns] for one in found]
    print_table(tuple(name.replace("_", " ") for name in columns), shown_rows)


async def _list(filters: Filters, limit: int, settings: StoreSettings) -> list[dict[str, Any]]:
    from crewmem_producers.connect import open_keyring
    from crewmem_store import generations

    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        active = generations.active_or_none(registry)
        reader = store.reader(active.name) if active else None
        return await newest(log, open_keyring(settings, registry), reader, filters=filters, limit=limit)


async def _tell(event: str, settings: StoreSettings) -> list[dict[str, Any]]:
    from crewmem_producers.connect import open_keyring
    from crewmem_store import generations

    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        active = generations.active_or_none(registry)
        live = [(one, store.reader(one.name)) for one in generations.live(registry)]
        keyring, name = open_keyring(settings, registry), active.name if active else None
        return await story(event, sources=Sources(log=log, keyring=keyring, generations=live, active=name, now=utc_now()))


def _print_record(record: dict[str, Any]) -> None:
    place = f"{record['position']['partition']}/{record['position']['offset']}"
    if not record["on_log"]:
        say(f"{place}: the log has this record no more", style="bold")
        return
    said = f"{record['type'] or 'a record'} {record['event_id'] or ''} at {place}, logged {record['logged_at']}, "
    said += f"written by {shown(record['writer'])}"
    say(visible_line(said), style="bold")
    headers = [("(key)", record["key"]), *record["headers"]]
    print_table(("header", ""), headers)
    body = record["body"]
    text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    say(text)


def _print_generation(told: dict[str, Any]) -> None:
    answers = " (answers recalls)" if told["active"] else ""
    if told["outcome"] is None:
        said = "still waits" if told["waits"] else "has no outcome: `crewmem accounting --verify` looks for more like it"
        say(f"{told['generation']}{answers}: {said}", style="bold")
        return
    why = ": ".join(part for part in (told["reason"], told["detail"]) if part)
    say(visible_line(f"{told['generation']}{answers}: {told['outcome']}{f', {why}' if why else ''}"), style="bold")
    if told["spans"]:
        columns = ("piece", "outcome", "rule", "why")
        print_table(columns, [(span["span"], span.get("outcome"), span.get("rule"), span.get("why")) for span in told["spans"]])
    for span in told["spans"]:
        if span.get("memory"):
            say(visible_line(f"{span['span']}: {_memory(span['memory'])}"))
    if told["unexplained"]:
        note(f"why each piece was decided so cannot be told: {told['unexplained']}", style="yellow")
    if told["dead_letter"]:
        facts = ", ".join(f"{fact['type']} at offset {fact['offset']}" for fact in told["dead_letter"]["facts"])
        say(f"dead letter: {told['dead_letter']['state']}{f' ({facts})' if facts else ''}")


def _memory(memory: dict[str, Any]) -> str:
    """One line: which memory, what it is now and through what, and its text."""
    said = [f"memory {memory['id']}, {memory['state']}"]
    if memory.get("forgotten_by"):
        by = memory["forgotten_by"]
        said.append(f"by {by['type']} {by['event_id']} at offset {by['offset']}")
    if memory.get("superseded_at"):
        said.append(f"at {memory['superseded_at']}")
    if memory.get("duplicate_of"):
        said.append(f"of {memory['duplicate_of']}")
    if memory["state"] == "current":
        said.append(f"written by {shown(memory['writer'])}")
    if memory.get("duplicates"):
        said.append(f"repeated by {', '.join(one['event_id'] for one in memory['duplicates'])}")
    return " ".join(said) + (f": {memory['text']}" if memory.get("text") else "")
