"""Where the running code stands: in a `with crewmem.session(...)` block, in a kickoff, or in neither.

Both are carried by context variables. Asyncio tasks inherit them, and so do the threads that CrewAI starts; threads of a
program's own do not. What is open in the whole process is therefore counted, so that code without a session of its own can
be refused instead of being served from another session.

A kickoff lies in OpenTelemetry's context, which CrewAI attaches when a kickoff begins and detaches when it ends, also when
it is cancelled or interrupted and no hook runs any more.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakSet

from crewmem_producers import forks

_KICKOFF_KEY = "crewmem-kickoff"


@dataclass(eq=False)
class SessionBlock:
    """One `with crewmem.session(...)`. `session` as it was given; `left_elsewhere` when it ended in another context than the
    one that it began in, where it would seem open forever."""

    session: Any
    outer: SessionBlock | None = None
    process: int = field(default_factory=os.getpid)
    closed: bool = False
    left_elsewhere: bool = False


class RunningKickoff(Protocol):
    """What is asked of a kickoff by code inside it. `block` is the one that it began in, `outer` what it began in at all."""

    block: SessionBlock | None
    outer: Place | None
    process: int
    sessions: Any

    def declared(self) -> Any:
        """Return its sessions, for a kickoff inside it. Raise SessionMissing."""

    def of_call(self) -> Any:
        """Return the sessions of a call from here: with AGENT_ROLE those of the calling agent. Raise SessionMissing."""


Place = SessionBlock | RunningKickoff

_block: ContextVar[SessionBlock | None] = ContextVar("crewmem_session", default=None)


class _OpenPlaces:
    """The blocks and kickoffs that are open in this process, in whatever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: WeakSet[Any] = WeakSet()
        forks.watch(self)

    def add(self, place: Place) -> None:
        with self._lock:
            self._places.add(place)

    def discard(self, place: Place) -> None:
        with self._lock:
            self._places.discard(place)

    def all(self) -> list[Any]:
        with self._lock:
            return list(self._places)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """The parent's other threads are not here, nor are their blocks; that of the forking thread is, and stays."""
        self._lock = threading.Lock()
        here = current()
        self._places = WeakSet() if here is None else WeakSet([here])


@contextmanager
def opened_block(session: Any) -> Iterator[None]:
    """Put the code inside into a block."""
    block = SessionBlock(session, outer=_block.get())
    token = _block.set(block)
    _open.add(block)
    try:
        yield
    finally:
        _open.discard(block)
        block.closed = True
        innermost = _block.get()
        try:
            _block.reset(token)
        except ValueError:  # a generator or a framework ends it in another context
            block.left_elsewhere = True
        # Blocks of generators can end in another order than they nest: set what is innermost now.
        _block.set(_still_open(block.outer) if innermost is block else innermost)


@contextmanager
def no_place() -> Iterator[None]:
    """Run the code inside as if it were in no block."""
    token = _block.set(None)
    try:
        yield
    finally:
        _block.reset(token)


def _still_open(block: SessionBlock | None) -> SessionBlock | None:
    while block is not None and block.closed:
        block = block.outer
    return block


def enter_kickoff(kickoff: RunningKickoff) -> None:
    """Put the rest of CrewAI's kickoff, which has just begun in this context, into it."""
    from opentelemetry import context

    context.attach(context.set_value(_KICKOFF_KEY, kickoff))


@contextmanager
def inside_kickoff(kickoff: RunningKickoff) -> Iterator[None]:
    """Put the code inside into a kickoff that is not CrewAI's."""
    from opentelemetry import context

    token = context.attach(context.set_value(_KICKOFF_KEY, kickoff))
    try:
        yield
    finally:
        context.detach(token)


def running_kickoff() -> Any:
    """Return the innermost kickoff that this code runs in, or None."""
    context = sys.modules.get("opentelemetry.context")  # CrewAI loads it
    return None if context is None else context.get_value(_KICKOFF_KEY)


def count_kickoff(kickoff: RunningKickoff) -> None:
    """Count a kickoff, whose sessions are decided, as open until `uncount_kickoff`, or until it is collected: one that was
    cancelled is not uncounted."""
    _open.add(kickoff)


def uncount_kickoff(kickoff: RunningKickoff) -> None:
    """Take back `count_kickoff`."""
    _open.discard(kickoff)


def current_block() -> SessionBlock | None:
    """Return the innermost block of this context."""
    return _block.get()


def current() -> Place | None:
    """Return the innermost of block and kickoff that this code runs in."""
    block, kickoff = _block.get(), running_kickoff()
    inside_kickoff = kickoff is not None and (block is None or block is kickoff.block)
    return kickoff if inside_kickoff else block


def open_places() -> list[Any]:
    """Return every block and kickoff that is open in this process."""
    return _open.all()


_open = _OpenPlaces()
