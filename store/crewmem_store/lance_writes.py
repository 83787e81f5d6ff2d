"""Updates of a Lance table that are one write: a write costs the same for one row as for many, and leaves a fragment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from crewmem_store import lance_filters
from crewmem_store.updates import Extend, SupersedeFailures, SupersedeKey, Update

UPDATES_AT_ONCE = 50
"""Updates that are one write: its cost grows with their square, each row being held against each of them."""

AsOne = Callable[[Sequence[Any]], tuple[str, dict[str, str]]]
AS_ONE: Mapping[type, AsOne] = {
    SupersedeKey: lance_filters.superseding, SupersedeFailures: lance_filters.superseding, Extend: lance_filters.extending,
}  # fmt: skip
"""Updates of which a run can be one write, and what makes its `where` and its values in SQL."""


def pieces(updates: Iterable[Update]) -> Iterator[list[Update]]:
    """Runs of at most UPDATES_AT_ONCE, in none of which a row is extended twice."""
    piece: list[Update] = []
    extended: set[str] = set()
    for update in updates:
        id = update.id if isinstance(update, Extend) else None
        if len(piece) == UPDATES_AT_ONCE or id in extended:
            yield piece
            piece, extended = [], set()
        piece.append(update)
        if id is not None:
            extended.add(id)
    if piece:
        yield piece
