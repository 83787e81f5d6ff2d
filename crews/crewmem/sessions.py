"""Which session a kickoff or a call belongs to: never guessed, and found in one order everywhere.

The argument, then `inputs["crewmem_session"]`, then the `with crewmem.session(...)` block or the kickoff around it, then
CREWMEM_SESSION. Code that has none of the first three falls back to CREWMEM_SESSION, or a Memstore to `shared`, only while no
other session is open in the process: a thread that lost its session would otherwise read and write another one.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast

from crewmem_producers.errors import InvalidName
from crewmem_producers.names import ALL_SESSIONS, SHARED, normalise_session

from crewmem.agent_roles import session_of_role
from crewmem.errors import SessionFailed, SessionMissing
from crewmem.session_context import Place, RunningKickoff, SessionBlock, current, no_place, open_places, opened_block

P = ParamSpec("P")
R = TypeVar("R")

INPUT_NAME = "crewmem_session"
"""The kickoff input that names the session."""


class _AgentRole(Enum):
    AGENT_ROLE = "agent_role"


AGENT_ROLE: Final = _AgentRole.AGENT_ROLE
"""As a session: each agent gets the memories of its own role, and its outputs go there."""

PlainSession = str | Sequence[str] | Literal[_AgentRole.AGENT_ROLE]
Session = PlainSession | Callable[[Any, Mapping[str, Any]], PlainSession | None]
"""One name, several (reads all, writes to the first), AGENT_ROLE, or a function of the crew and its inputs."""


_NO_KICKOFF_SESSION = (
    "this kickoff has no session. Name one: crewmem.install(session=...), MemoryCrew(crew, session=...), "
    f'inputs={{"{INPUT_NAME}": ...}}, `with crewmem.session(...):` or CREWMEM_SESSION; '
    'session="shared" is the knowledge base that all crews share.'
)
_NO_CALL_SESSION = (
    "this call has no session: pass session=..., call it inside a kickoff or `with crewmem.session(...):`, or set "
    'CREWMEM_SESSION; session="shared" is the knowledge base that all crews share.'
)
_FUNCTION_BLOCK = (
    "the session of this block is a function of a crew and its inputs, which a call outside of a kickoff does not have: "
    "pass session=... to the call."
)
_OPEN_ELSEWHERE = (
    "this thread has no session, while a kickoff or a `with crewmem.session(...)` block is open elsewhere in this process: "
    "CREWMEM_SESSION or `shared` could be the wrong one. Pass session=...; or, if the thread works for that block or "
    "kickoff, give the thread or pool crewmem.propagate(function), or contextvars.copy_context().run."
)
_FORKED = (
    "this process was forked inside a kickoff or a `with crewmem.session(...)` block, which may be over: a pool gives its "
    "processes work of several sessions. Pass session=..., or submit crewmem.propagate(function)."
)
_LEFT_ELSEWHERE = (
    "the `with crewmem.session(...)` block of this code has ended in another context, so that its session is not certain "
    "here; a generator that yields inside a block does this. Pass session=..., or open the block around the loop."
)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where to read and where to write. With `by_role` both are the agent's role, and the rest is empty."""

    read: tuple[str, ...] = ()
    write: str = ""
    by_role: bool = False

    def of_role(self, role: str) -> Sessions:
        """Return the sessions of an agent with this role."""
        if not self.by_role:
            return self
        name = session_of_role(role)
        return Sessions(read=(name,), write=name)


@contextmanager
def session(session: Session) -> Iterator[None]:
    """`with crewmem.session("project_alpha"):` names the session of what runs inside.

    Asyncio tasks that are made inside inherit it, and so do kickoffs with the threads that CrewAI starts for them. Threads,
    pools and processes of your own do not: give them `crewmem.propagate(function)`. While a block is open, a call or a
    kickoff that has no session raises SessionMissing rather than using CREWMEM_SESSION or `shared`.

    A streaming kickoff starts when its stream is read: read it inside the block. Do not `yield` out of a block: what is
    outside of the generator would be in it too. Raise InvalidName for what can never be a session.
    """
    check(session)
    with opened_block(session):
        yield


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` with the session of the block or kickoff that calls `propagate`, for a thread or process to run.

        with crewmem.session("project_alpha"):
            pool.submit(crewmem.propagate(memstore.remember), "Acme has no API docs")

    With a ProcessPoolExecutor, `function` and its arguments must be picklable, and so must the session where it is a
    function. Outside of blocks and kickoffs it runs as it would have run there: with no session of its own. Raise
    SessionMissing where the block was left behind by another context or process, TypeError for a generator function, whose
    body would run after the call.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"propagate cannot wrap the generator function {function!r}: wrap what reads its items")
    place = _here()
    carried = place.session if isinstance(place, SessionBlock) else place and place.of_call()
    return functools.partial(_run_in, carried, function)


def check(session: Session | None) -> None:
    """Raise InvalidName for what can never be a session."""
    if session is not None and not callable(session):
        _plain(session)


def resolve(
    argument: Session | None,
    *,
    crew: Any,
    inputs: Mapping[str, Any],
    default: str | None,
    own: RunningKickoff | None = None,
) -> Sessions:
    """Return the sessions of a kickoff: `own`, where its code asks already.

    Raise SessionMissing when there is none or only one that could be wrong, SessionFailed, InvalidName.
    """
    for candidate in (argument, inputs.get(INPUT_NAME)):
        if (found := _named(candidate, crew, inputs)) is not None:
            return found
    place = own.outer if own is not None else current()
    if (found := _of_place(_checked(place), crew, inputs)) is not None:
        return found
    return _fallback(default, place, missing=_NO_KICKOFF_SESSION)


def resolve_call(argument: PlainSession | None, *, default: str | None, required: bool = False) -> Sessions:
    """Return the sessions of a call: the argument, else those of the block or kickoff around it, else `default`, else the
    shared one, or with `required` none. Raise SessionMissing, InvalidName."""
    if argument is not None:
        return _of_call(argument)
    place = _here()
    if isinstance(place, SessionBlock):
        if callable(place.session):
            raise SessionMissing(_FUNCTION_BLOCK)
        return _of_call(place.session)
    if place is not None:
        found: Sessions = place.of_call()
        return found
    return _fallback(default if required else default or SHARED, place, missing=_NO_CALL_SESSION)


def _named(candidate: Any, crew: Any, inputs: Mapping[str, Any]) -> Sessions | None:
    """Return what the candidate names, None where it leaves it to the next in line."""
    if not callable(candidate):
        return None if candidate is None else _plain(candidate)
    name = getattr(candidate, "__qualname__", repr(candidate))
    try:
        answer = candidate(crew, inputs)
        if inspect.iscoroutine(answer):
            answer.close()
        return None if answer is None else _plain(answer)
    except InvalidName as error:
        raise SessionFailed(f"the session function {name} returned what is not a session: {error}") from error
    except SessionMissing:
        raise
    except Exception as error:
        raise SessionFailed(
            f"the session function {name} raised {type(error).__name__}: {error}. Fix it; it takes the crew and the "
            "kickoff's inputs, and returns a name, a list of names, AGENT_ROLE or None"
        ) from error


def _of_place(place: Place | None, crew: Any, inputs: Mapping[str, Any]) -> Sessions | None:
    while isinstance(place, SessionBlock):
        if (found := _named(place.session, crew, inputs)) is not None:
            return found
        place = place.outer
    return None if place is None else place.declared()


def _of_call(session: Any) -> Sessions:
    found = Sessions(read=(ALL_SESSIONS,)) if session == ALL_SESSIONS else _plain(session)
    if found.by_role:
        raise InvalidName("AGENT_ROLE needs an agent: pass the role's name as session")
    return found


def _fallback(default: str | None, place: Place | None, *, missing: str) -> Sessions:
    """Return the default's sessions, unless code without a place of its own would get another session than is open."""
    found = None if default is None else _of_call(default)
    if place is None and _another_is_open(found):
        raise SessionMissing(_OPEN_ELSEWHERE)
    if found is None:
        raise SessionMissing(missing)
    return found


def _another_is_open(found: Sessions | None) -> bool:
    for _ in range(2):
        if all(_open_sessions(place) == found for place in open_places()):
            return False
        gc.collect()  # a kickoff that was cancelled ended without a hook, and counts until it is collected
    return True


def _open_sessions(place: Any) -> Sessions | None:
    """Return the sessions of a place that is open elsewhere, None where only a kickoff inside it would tell."""
    if not isinstance(place, SessionBlock):
        return cast("Sessions | None", place.sessions)
    return None if callable(place.session) else _plain(place.session)


def _here() -> Place | None:
    return _checked(current())


def _checked(place: Place | None) -> Place | None:
    """Return the place. Raise SessionMissing where the context says one that has ended or belongs to another process."""
    if place is not None and place.process != os.getpid():
        raise SessionMissing(_FORKED)
    if isinstance(place, SessionBlock) and place.left_elsewhere:
        raise SessionMissing(_LEFT_ELSEWHERE)
    return place


def _run_in(session: Any, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with opened_block(session) if session is not None else no_place():
        result = function(*args, **options)
    return _awaited(session, result) if inspect.iscoroutine(result) else result


async def _awaited(session: Any, coroutine: Any) -> Any:
    with opened_block(session) if session is not None else no_place():
        return await coroutine


def _plain(session: object) -> Sessions:
    if isinstance(session, Sessions):  # carried by `propagate`
        return session
    if session is AGENT_ROLE:
        return Sessions(by_role=True)
    if isinstance(session, str):
        name = normalise_session(session)
        return Sessions(read=(name,), write=name)
    if isinstance(session, Sequence) and session:
        first = normalise_session(session[0])
        rest = (name if name == ALL_SESSIONS else normalise_session(name) for name in session[1:])
        return Sessions(read=tuple(dict.fromkeys((first, *rest))), write=first)
    raise InvalidName(f"a session is a name, a list of names, AGENT_ROLE or a function, not {session!r}")
