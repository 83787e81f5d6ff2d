"""`crewmem recall | list`: what is remembered, as the recall service tells it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from crewmem_producers.freshness import LATEST
from crewmem_producers.settings import CrewSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.options import AsJson

_WAIT_SECONDS = 10.0
"""How long `--fresh` lets the service wait for what was acknowledged before."""

Sessions = Annotated[
    list[str] | None,
    typer.Option("--session", "-s", help="Session, repeatable; `*`: all that the key may read.", show_default=False),
]

Private = Annotated[bool, typer.Option("--private", help="Private memories of every source as well.")]


def recall(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
    session: Sessions = None,
    top_k: Annotated[int, typer.Option(min=1, max=100, help="How many memories, at most.")] = 5,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least score (a cosine).")] = 0.0,
    kind: Annotated[str | None, typer.Option(help="Only memories of this kind.", show_default=False)] = None,
    fresh: Annotated[bool, typer.Option(help="Wait for everything that was acknowledged before.")] = True,
    context: Annotated[bool, typer.Option("--context", help="Print a block ready for a prompt.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each memory ranks so (JSON).")] = False,
    private: Private = False,
    as_json: AsJson = False,
) -> None:
    """Find memories and print them with their scores."""
    settings = load(CrewSettings)
    asked: dict[str, Any] = {"q": query, "session": _asked(session, settings), "top_k": top_k, "threshold": threshold}
    asked |= {"kind": kind} if kind else {}
    asked |= {"after": LATEST, "wait_seconds": _WAIT_SECONDS} if fresh else {}
    asked |= {"format": "context"} if context else {}
    asked |= {"explain": True} if explain else {}
    asked |= {"include_private": True} if private else {}
    answer = parts.call(settings, "POST", "/v1/memory/recall", json=asked, wait_seconds=_WAIT_SECONDS if fresh else 0)
    if answer.get("fresh") is False:
        note("the newest events are not in the view yet", style="yellow")
    if as_json or explain:
        print_json(answer)
    elif context:
        say(answer["context"])
    else:
        _print_memories(answer["memories"], asked["session"])


def list_memories(
    session: Sessions = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, at most.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many to pass over.")] = 0,
    private: Private = False,
    as_json: AsJson = False,
) -> None:
    """Print the memories of a session, newest first."""
    settings = load(CrewSettings)
    asked: dict[str, Any] = {"session": _asked(session, settings), "limit": limit, "offset": offset}
    asked |= {"include_private": True} if private else {}
    answer = parts.call(settings, "GET", "/v1/memory/list", params=asked)
    if as_json:
        print_json(answer)
        return
    _print_memories(answer["memories"], asked["session"])
    note(f"{len(answer['memories'])} of {answer['total']}")


def _asked(sessions: list[str] | None, settings: CrewSettings) -> str | list[str]:
    if not sessions:
        return settings.session or "shared"
    return sessions[0] if len(sessions) == 1 else sessions


def _print_memories(memories: list[dict[str, Any]], sessions: str | list[str]) -> None:
    if not memories:
        note(_nothing(sessions))
        return
    scored = any(memory.get("score") is not None for memory in memories)
    columns = (*(("score",) if scored else ()), "date", "kind", "session", "memory", "id")
    print_table(columns, [_row(memory, scored) for memory in memories], lines=("memory",))


def _nothing(sessions: str | list[str]) -> str:
    if "*" in sessions:
        return "nothing was found in any session that the key may read"
    names = [sessions] if isinstance(sessions, str) else sessions
    return f"nothing was found in session {' or '.join(map(repr, names))}; --session '*' looks in all that the key may read"


def _row(memory: dict[str, Any], scored: bool) -> tuple[Any, ...]:
    score = (f"{memory['score']:.2f}",) if scored else ()
    return (*score, memory["created_at"][:10], memory["kind"], memory["session"], memory["content"], memory["id"])
