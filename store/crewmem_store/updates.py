"""Updates of older rows: the effects that a record has on memories before it.

A store applies each with its `where` evaluated at commit. All but `Forget` touch only rows before the causing event
(`offset < before_offset`); superseding and extending touch only rows that have text (`text is not null`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SupersedeKey:
    """Rows of `scope` with `key` and `superseded_at` null get `superseded_at = at` (UTC)."""

    scope: str
    key: str
    before_offset: int
    at: datetime


@dataclass(frozen=True, slots=True)
class SupersedeFailures:
    """Rows of `scope`, kind `failure`, this task, `superseded_at` null, get `superseded_at = at` (UTC)."""

    scope: str
    task_key: str
    before_offset: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Extend:
    """The row `id`'s `expires_at` becomes the later of the two; None (for ever) is the latest of all."""

    id: str
    before_offset: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Forget:
    """Rows with these ids lose text, content, summary, vector, source_hash, key and metadata; the ids stay as tombstones."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    """Every row of `scope` below `before_offset` loses the same and its crew, agent role, task key and parent too.

    The scope is replaced by its record key (`Scope.key`), so that no name of the session is left.
    """

    scope: str
    before_offset: int


@dataclass(frozen=True, slots=True)
class EraseKey:
    """The same for the scope whose record key (`Scope.key`) this is: an erasure need not name its session."""

    key: str
    before_offset: int


Supersede = SupersedeKey | SupersedeFailures

Update = SupersedeKey | SupersedeFailures | Extend | Forget | Erase | EraseKey


def in_few_writes(updates: Sequence[Update]) -> list[Update]:
    """The same effects in an order that takes few writes: up to each erasure first what is forgotten, all at once, then what
    is superseded, one after the other, then what is extended, each row once.

    Of these updates none changes a row that one of them forgets, before that or after; a later extension of a row is a longer
    one; and superseding looks at nothing that extending changes.
    """
    found: list[Update] = []
    start = 0
    for place, update in enumerate(updates):
        if isinstance(update, Erase | EraseKey):
            found += [*_between_erasures(updates[start:place]), update]
            start = place + 1
    return found + _between_erasures(updates[start:])


def _between_erasures(updates: Sequence[Update]) -> list[Update]:
    forgotten = dict.fromkeys(id for update in updates if isinstance(update, Forget) for id in update.ids)
    superseded = [update for update in updates if isinstance(update, SupersedeKey | SupersedeFailures)]
    extended = {update.id: update for update in updates if isinstance(update, Extend)}
    return [*([Forget(tuple(forgotten))] if forgotten else []), *superseded, *extended.values()]
