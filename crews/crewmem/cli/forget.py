"""`crewmem forget`: one memory, all memories of an event, or a whole session."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from crewmem_producers.codec import encode
from crewmem_producers.errors import ServiceUnavailable, SettingsError, TransportRefused
from crewmem_producers.events import Event, SessionForgotten
from crewmem_producers.freshness import Mark
from crewmem_producers.names import Scope
from crewmem_producers.settings import CrewSettings, StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.console import counted, note, print_json, say
from crewmem.cli.errors import CheckFailed
from crewmem.cli.key_tenant import key_tenant, unknown_session
from crewmem.cli.options import AsJson
from crewmem.cli.session_records import knows

_WAIT_SECONDS = 15.0


def forget(
    id: Annotated[str | None, typer.Argument(help="Id of a memory or of an event.", show_default=False)] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Forget everything of this session.", show_default=False)
    ] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="With --session: leave no trace: destroy its data keys, clean the store's files.")
    ] = False,
    wait_seconds: Annotated[
        float, typer.Option("--wait", min=0, help="With --erase: how many seconds to wait until nothing is left.")
    ] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a memory, an event's memories, or a session: the text leaves the store and does not come back."""
    if (id is None) == (session is None):
        raise typer.BadParameter("give an id, or --session NAME")
    if erase and session is None:
        raise typer.BadParameter("--erase needs --session NAME")
    settings = load(CrewSettings)
    if erase:
        _erase(settings, str(session), yes=yes, wait_seconds=wait_seconds, as_json=as_json)
        return
    answer = _forget_id(settings, str(id)) if session is None else _forget_session(settings, session, yes=yes)
    if as_json:
        print_json(answer)
        return
    what = answer["id"] if session is None else f"{answer['id']} of tenant {answer['tenant']}"
    if answer["deleted"]:
        say(f"forgotten: {what}")
    else:
        say(f"will be forgotten once a consumer has read it: {what} (token {answer['token']})")


def _forget_id(settings: CrewSettings, id: str) -> dict[str, Any]:
    from urllib.parse import quote

    return parts.call(settings, "DELETE", f"/v1/memory/forget/{quote(id, safe='')}", wait_seconds=_WAIT_SECONDS)


def _forget_session(settings: CrewSettings, session: str, *, yes: bool) -> dict[str, Any]:
    scope = Scope.of(settings.tenant, session)
    if not yes:
        _ask(scope)
    found = asyncio.run(_append(settings, scope))
    if found.known:
        note("its events stay on the log, and no replay brings them back as memories; --erase makes them unreadable")
    else:
        note(unknown_session(scope, found.key_tenant), style="yellow")
    deleted = _applied(settings, scope, found.token)
    return {"deleted": deleted, "id": scope.session, "tenant": scope.tenant, "known": found.known, "token": found.token}


def _erase(settings: CrewSettings, session: str, *, yes: bool, wait_seconds: float, as_json: bool) -> None:
    from crewmem.cli import erase

    scope = Scope.of(settings.tenant, session)
    if not yes:
        _ask(scope, doing="Erase")
    found = asyncio.run(erase.erase(settings, load(StoreSettings), scope.session, wait_seconds=wait_seconds))
    if as_json:
        print_json(asdict(found) | {"done": found.done})
    else:
        said = f" ({counted(found.keys, 'data key')} destroyed)" if found.keys else ""
        say(f"{'erased' if found.done else 'being erased'}: {found.session} of tenant {found.tenant}{said}")
        if not found.records:
            note(unknown_session(scope, found.key_tenant), style="yellow")
        for sentence in found.cannot:
            note(f"cannot be erased: {sentence}", style="yellow")
        for sentence in found.pending:
            note(f"pending: {sentence}", style="yellow")
    if not found.done:
        raise CheckFailed(
            "the session is forgotten, but not all of it is gone from the disks yet: run this again to see how it stands (what "
            "was published to it since is erased then, too)"
        )


def _ask(scope: Scope, *, doing: str = "Forget") -> None:
    question = f"{doing} everything of session {scope.session!r} of tenant {scope.tenant}?"
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort as error:
        raise SettingsError("nothing is forgotten; give --yes to forget a session without being asked") from error


@dataclass(frozen=True, slots=True)
class _Appended:
    """`known`: whether the log had anything of the session before."""

    token: str
    known: bool
    key_tenant: str | None


async def _append(settings: CrewSettings, scope: Scope) -> _Appended:
    event = Event(body=SessionForgotten(), scope=None, record_key=scope.key, source=settings.source)
    async with parts.existing_log(settings) as log, parts.registry(settings) as registry:
        reached = key_tenant(settings, registry)
        [position] = await log.append([encode(event)])
        known = await knows(log, scope, position.partition, end=position.offset)
    return _Appended(str(Mark(position.partition, position.offset)), known, reached)


def _applied(settings: CrewSettings, scope: Scope, token: str) -> bool:
    """Whether the view that the service answers from holds it now."""
    asked = {"q": scope.session, "session": scope.session, "top_k": 1, "after": token, "wait_seconds": _WAIT_SECONDS}
    try:
        return bool(parts.call(settings, "POST", "/v1/memory/recall", json=asked, wait_seconds=_WAIT_SECONDS).get("fresh"))
    except (ServiceUnavailable, TransportRefused, SettingsError) as error:
        note(f"the service cannot be asked whether it is done: {error}", style="yellow")
        return False
