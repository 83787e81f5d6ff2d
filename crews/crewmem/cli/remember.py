"""`crewmem remember`: one memory, by hand or from a script."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from crewmem.cli.console import note, print_json, say
from crewmem.cli.options import AsJson, Session


def remember(
    content: Annotated[str, typer.Argument(help="What to remember; `-` reads it from stdin.")],
    session: Session = None,
    kind: Annotated[str | None, typer.Option(help="What it is; default: note.", show_default=False)] = None,
    key: Annotated[str | None, typer.Option(help="Replaces what this key said before.", show_default=False)] = None,
    ttl: Annotated[float | None, typer.Option(help="Seconds until it is forgotten.", show_default=False)] = None,
    importance: Annotated[float | None, typer.Option(help="0 to 1; default: 0.5.", show_default=False)] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object that is kept with it.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Store one memory. When the service is away it waits in the outbox and is delivered later."""
    from crewmem.memstore import Memstore

    text = sys.stdin.read() if content == "-" else content
    fields: dict[str, Any] = {"kind": kind, "key": key, "ttl": ttl, "importance": importance, "metadata": _object(metadata)}
    memstore = Memstore()
    try:
        answer = memstore.remember(text, session, **fields)
    finally:
        memstore.close()
    if as_json:
        print_json(answer)
    else:
        _tell(answer)


def _object(metadata: str | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    try:
        value = json.loads(metadata)
    except ValueError as error:
        raise typer.BadParameter(f"--metadata is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise typer.BadParameter('--metadata is a JSON object, such as {"source": "interview"}')
    return value


def _tell(answer: dict[str, Any]) -> None:
    say(answer["id"])
    if answer.get("queued"):
        note("queued in the outbox: the service does not answer; `crewmem outbox status` shows what waits", style="yellow")
    elif answer.get("duplicate"):
        note(f"known already in session {answer['session']}: that is the id of the memory it repeats")
    elif "token" in answer:
        note(f"on the log of session {answer['session']}, recallable soon (token {answer['token']})")
    else:
        note(f"remembered in session {answer['session']}")
