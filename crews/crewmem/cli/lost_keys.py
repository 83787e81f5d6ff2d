"""`crewmem keys lost`: data keys that the registry lost, and giving up what they sealed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from crewmem_producers import data_keys
from crewmem_producers import lost_keys as keys
from crewmem_producers.errors import SettingsError
from crewmem_producers.events import utc_now
from crewmem_producers.lost_keys import LostKey
from crewmem_producers.registry import Registry
from crewmem_producers.settings import KafkaSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.errors import CheckFailed, KeyNotLost
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar


def lost(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Data keys to give up.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the data keys that records on the log name and the registry does not have, or give up those that are named.

    Consumers wait at such a record. Given up, all that the key sealed counts as erased, for good: the records end as
    `forgotten`, and no replay and no backup brings their text back. Exit code 1 when some are lost and none is named.
    """
    asyncio.run(_lost(load(KafkaSettings), ids or [], yes=yes, as_json=as_json))


async def _lost(settings: KafkaSettings, ids: Sequence[str], *, yes: bool, as_json: bool) -> None:
    async with parts.existing_log(settings) as log, parts.registry(settings) as registry:
        with progress_bar() as show:
            found = await keys.lost_keys(log, registry, progress=lambda done, total: show("reading the log", done, total))
        if not ids:
            _list(found, as_json=as_json)
            return
        chosen = [_chosen(found, registry, id) for id in ids]
        if not yes:
            _ask(chosen)
        for key in chosen:
            await keys.give_up(registry, key, now=utc_now())
    if as_json:
        print_json([asdict(key) for key in chosen])
    else:
        for key in chosen:
            say(f"given up: {key.id} ({key.records} records end as forgotten, reason erased)")
            _warn(key)


def _list(found: Mapping[str, LostKey], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(key) for key in found.values()])
    elif found:
        columns = ("data key", "session's record key", "records", "first at", "time")
        rows = [(key.id, key.scope_key, key.records, str(key.first), key.time) for key in found.values()]
        print_table(columns, rows)
    else:
        say("none: the registry has the data key of every sealed record")
    if found:
        raise CheckFailed(
            f"{sum(key.records for key in found.values())} records are waited for. Restore the registry (`crewmem backup "
            "restore`); where no backup has the keys, give up what they sealed: `crewmem keys lost ID`"
        )


def _chosen(found: Mapping[str, LostKey], registry: Registry, id: str) -> LostKey:
    if id in found:
        return found[id]
    value = registry.get(data_keys.PREFIX + id)
    if value is None:
        raise KeyNotLost(f"no record on the log is sealed with a data key {id}: nothing waits for it")
    if data_keys.is_erased(value):
        raise KeyNotLost(f"the data key {id} is erased: nothing waits for it")
    raise KeyNotLost(
        f"the data key {id} is in the registry, and opens with the master key {value.get('master')}: set CREWMEM_MASTER_KEY "
        "to that where events are opened"
    )


def _warn(key: LostKey) -> None:
    if key.forgets:
        note(
            f"{key.forgets} of its records forget memories: a replay will not know of them, and shows those memories again. "
            "Forget them, or the session, once more",
            style="yellow",
        )


def _ask(chosen: Sequence[LostKey]) -> None:
    for key in chosen:
        note(f"{key.id} sealed {key.records} records of {key.scope_key}, from {key.first} ({key.time}) on")
        _warn(key)
    question = "Give up what they sealed? It can never be read again, not even if the keys turn up in a backup."
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort as error:
        raise SettingsError("nothing is given up; give --yes to do it without being asked") from error
