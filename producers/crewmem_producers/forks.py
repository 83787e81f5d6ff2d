"""What must not cross `os.fork`: connections, locks and threads of the parent.

SQLite keeps its file locks in process memory that a child inherits while the kernel gives it no lock, so a connection
that is open at the fork can cost the child its writes. A lock that another thread holds at the fork, such as that of a
module which it imports, is never freed in the child. Whoever is watched here is therefore suspended before every fork of
this process, resumed in the parent, and told in the child to start anew.
"""

from __future__ import annotations

import functools
import os
from enum import IntEnum
from typing import Protocol
from weakref import WeakKeyDictionary


class ForkAware(Protocol):
    """What can be watched: told before each fork, and after it in parent and child."""

    def before_fork(self) -> None:
        """Lets go of what must not be inherited, and holds still until one of the other two is called."""

    def after_fork_in_parent(self) -> None:
        """Goes on; what was let go of is opened again at the next use."""

    def after_fork_in_child(self) -> None:
        """Goes on as a new process: no thread but the forking one is there."""


class ForkOrder(IntEnum):
    """The order in which objects are told of a fork. Earlier ones may need later ones to become still."""

    MAKER = 0
    """Makes threads and connections. Told first, so that none is half made at the fork."""
    THREAD = 1
    """Uses connections. Told before them, so that it lets go of none in the middle of a use."""
    RESOURCE = 2
    """A connection or a lock."""


_watched: WeakKeyDictionary[ForkAware, ForkOrder] = WeakKeyDictionary()
_suspended: list[ForkAware] = []


def watch(thing: ForkAware, order: ForkOrder = ForkOrder.RESOURCE) -> None:
    """Has `thing` told of every fork of this process, as long as it lives."""
    _register()
    _watched[thing] = order


@functools.cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def _before() -> None:
    for order in ForkOrder:
        for thing in [thing for thing, its in list(_watched.items()) if its is order]:
            thing.before_fork()
            _suspended.append(thing)


def _in_parent() -> None:
    while _suspended:
        _suspended.pop().after_fork_in_parent()


def _in_child() -> None:
    while _suspended:
        _suspended.pop().after_fork_in_child()
