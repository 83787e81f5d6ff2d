"""Which session a kickoff or a call belongs to: never guessed, and found in one order everywhere.

The argument, then `inputs["crewmem_session"]`, then a `with crewmem.session(...)` block, then CREWMEM_SESSION.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from crewmem_producers.errors import InvalidName
from crewmem_producers.names import ALL_SESSIONS, SHARED, normalise_session

from crewmem.errors import SessionMissing

INPUT_NAME = "crewmem_session"
"""The kickoff input that names the session."""


class _AgentRole(Enum):
    AGENT_ROLE = "agent_role"


AGENT_ROLE: Final = _AgentRole.AGENT_ROLE
"""As a session: each agent gets the memories of its own role, and its outputs go there."""

PlainSession = str | Sequence[str] | Literal[_AgentRole.AGENT_ROLE]
Session = PlainSession | Callable[[Any, Mapping[str, Any]], PlainSession | None]
"""One name, several (reads all, writes to the first), AGENT_ROLE, or a function of the crew and its inputs."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where to read and where to write. With `by_role` both are the agent's role, and the rest is empty."""

    read: tuple[str, ...] = ()
    write: str = ""
    by_role: bool = False

    def of_role(self, role: str) -> Sessions:
        """The sessions of an agent with this role. Raises InvalidName for a role that is no session's name."""
        if not self.by_role:
            return self
        name = normalise_session(role)
        return Sessions(read=(name,), write=name)


_block: ContextVar[Session | None] = ContextVar("crewmem_session", default=None)


@contextmanager
def session(session: Session) -> Iterator[None]:
    """`with crewmem.session("project_alpha"):` names the session of what runs inside, threads and tasks of it included.

    A streaming kickoff starts when its stream is read: read it inside the block. Raises InvalidName.
    """
    check(session)
    token = _block.set(session)
    try:
        yield
    finally:
        _block.reset(token)


def check(session: Session | None) -> None:
    """Raises InvalidName for what can never be a session."""
    if session is not None and not callable(session):
        _plain(session)


def resolve(argument: Session | None, *, crew: Any, inputs: Mapping[str, Any], default: str | None) -> Sessions:
    """The sessions of a kickoff. Raises SessionMissing when nobody named one, InvalidName."""
    for candidate in (argument, inputs.get(INPUT_NAME), _block.get(), default):
        found = candidate(crew, inputs) if callable(candidate) else candidate
        if found is not None:
            return _plain(found)
    raise SessionMissing(
        "this kickoff has no session. Name one: crewmem.install(session=...), MemoryCrew(crew, session=...), "
        f'inputs={{"{INPUT_NAME}": ...}}, `with crewmem.session(...):` or CREWMEM_SESSION; '
        'session="shared" is the knowledge base that all crews share.'
    )


def resolve_call(argument: PlainSession | None, *, default: str | None) -> Sessions:
    """The sessions of a call that belongs to no crew; the shared one when nobody named any. Raises InvalidName."""
    block = _block.get()
    for candidate in (argument, None if callable(block) else block, default):
        if candidate is not None:
            found = Sessions(read=(ALL_SESSIONS,)) if candidate == ALL_SESSIONS else _plain(candidate)
            if found.by_role:
                raise InvalidName("AGENT_ROLE needs an agent: pass the role's name as session")
            return found
    return Sessions(read=(SHARED,), write=SHARED)


def _plain(session: object) -> Sessions:
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
