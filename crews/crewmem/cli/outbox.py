"""`crewmem outbox`: what this machine's crews have published and the log does not have yet."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.errors import ServiceUnavailable, SettingsError, TransportRefused
from crewmem_producers.settings import CrewSettings, load

from crewmem.cli.console import counted, note, print_json, print_table, say
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar

if TYPE_CHECKING:
    from crewmem_producers.outbox import OutboxStatus
    from crewmem_producers.publisher import Publisher

app = typer.Typer(help="What waits on this machine to be sent.", no_args_is_help=True)

_LOOK_SECONDS = 0.2
_MOST_LETTERS = 100
"""Of each outbox the oldest so many are named; how many there are is said."""


@app.command()
def status(as_json: AsJson = False) -> None:
    """Print what waits in each outbox of this machine (one a destination), and what was refused for ever."""
    found = statuses(load(CrewSettings))
    if as_json:
        print_json(found)
        return
    if not found:
        say("nothing was ever published from here")
        return
    columns = ("outbox", "waiting", "oldest", "size", "delivered", "refused for ever", "turned away", "last error")
    print_table(columns, [_row(outbox) for outbox in found])
    for outbox in found:
        for letter in outbox["letters"]:
            note(f"refused for ever: {letter['id']}: {letter['reason']}", style="yellow")
        if more := outbox["dead_letters"] - len(outbox["letters"]):
            note(f"and {more} more that were refused for ever later, in {outbox['path']}", style="yellow")
    for outbox in found:
        if outbox["depth"] and not outbox["ours"]:
            note(_stranded(outbox), style="yellow")


@app.command()
def flush(
    timeout_seconds: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait.")] = 60.0, as_json: AsJson = False
) -> None:
    """Send what waits for the destination of these settings, and wait until it is on the log."""
    from crewmem_producers.publisher import Publisher

    publisher = Publisher(load(CrewSettings))
    try:
        waiting = publisher.status().depth
        after = _drained(publisher, waiting, timeout_seconds)
    finally:
        publisher.close()
    if as_json:
        print_json({"sent": waiting - after.depth, "waiting": after.depth})
    if after.caller_refused:
        raise TransportRefused(f"{after.depth} events wait in {after.path}: {after.error}")
    if after.depth:
        raise ServiceUnavailable(f"{after.depth} events still wait in {after.path}: {after.error or 'not sent in time'}")
    if not as_json:
        say(f"sent {waiting}; nothing waits any more for the destination of these settings")


@app.command()
def retry(as_json: AsJson = False) -> None:
    """Put what was refused for ever back into the queue, once the reason for the refusal is mended."""
    from crewmem_producers.destination import outbox_path
    from crewmem_producers.outbox import Outbox

    settings = load(CrewSettings)
    path = outbox_path(settings)
    if not path.is_file():
        raise SettingsError(f"there is no outbox for these settings ({path}); `crewmem outbox status` shows every one")
    outbox = Outbox(path, max_bytes=settings.outbox_max_mb * 1_000_000)
    try:
        again = outbox.retry_dead_letters()
    finally:
        outbox.close()
    if as_json:
        print_json({"waiting_again": again})
    elif again:
        say(f"waiting again: {counted(again, 'event')}; `crewmem outbox flush` sends what waits")
    else:
        say("no event was refused for ever: there is nothing to try again")


@app.command()
def readdress(
    old: Annotated[str, typer.Option("--from", help="The mistaken address: a URL, or host:port of Kafka.")],
    new: Annotated[str, typer.Option("--to", help="The right address.")],
    as_json: AsJson = False,
) -> None:
    """Move what waits for one address to the outbox of another. The API key, namespace and tenant are those of the settings.

    Nothing is lost or stored twice when it is interrupted: run it again.
    """
    from crewmem_producers.destination import move_address

    moved, path = move_address(load(CrewSettings), old=old, new=new)
    if as_json:
        print_json({"moved": moved, "path": str(path)})
    elif moved:
        say(f"moved {counted(moved, 'event')} to {path}; `crewmem outbox flush` with the right address sends them")
    else:
        say(f"nothing waits for {old}")


def _drained(publisher: Publisher, waiting: int, timeout_seconds: float) -> OutboxStatus:
    """The status once nothing waits or the time is over."""
    end = time.monotonic() + timeout_seconds
    with progress_bar() as show:
        while True:
            now = publisher.status()
            show("sending", max(waiting - now.depth, 0), waiting)
            if not now.depth or time.monotonic() >= end:
                return now
            time.sleep(_LOOK_SECONDS)


def statuses(settings: CrewSettings) -> list[dict[str, Any]]:
    """How each outbox of this machine stands: an OutboxStatus as a dict (`refused` is its `times_full`), with `ours` and its
    oldest dead `letters`."""
    from crewmem_producers.destination import outbox_files, outbox_path
    from crewmem_producers.outbox import Outbox

    found = []
    for path in outbox_files(settings.outbox_folder):
        outbox = Outbox(path, max_bytes=settings.outbox_max_mb * 1_000_000)
        letters = [{"id": letter.id, "reason": letter.reason} for letter in outbox.dead_letters(_MOST_LETTERS)]
        ours = path == outbox_path(settings)
        kept = asdict(outbox.status())
        kept["refused"] = kept.pop("times_full")
        found.append({**kept, "path": str(path), "ours": ours, "letters": letters})
        outbox.close()
    return found


def _stranded(outbox: dict[str, Any]) -> str:
    return (
        f"{outbox['depth']} events wait in {outbox['path']} for other settings: another address or namespace, or an API key "
        "that was replaced since. Only a crew, or `crewmem outbox flush`, with the settings that they were published with "
        "sends them: keep a key that is replaced valid until its outbox is empty. "
        "`crewmem outbox readdress` moves what was published to a mistaken address"
    )


def _row(outbox: dict[str, Any]) -> tuple[Any, ...]:
    oldest = "" if outbox["oldest_seconds"] is None else f"{outbox['oldest_seconds']:.0f} s"
    size = f"{outbox['bytes'] / 1e6:.1f} MB"
    path = outbox["path"] if outbox["ours"] else f"{outbox['path']} (other settings)"
    return path, outbox["depth"], oldest, size, outbox["delivered"], outbox["dead_letters"], outbox["refused"], outbox["error"]
