"""What the log has forgotten: spans by name, sessions up to an offset."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent, KeyErased
from crewmem_producers.events import MemoryForgotten, SessionForgotten
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord
from crewmem_producers.names import Scope
from crewmem_producers.spans import overlap

from crewmem_store.rows import MemoryRow


@dataclass(frozen=True, slots=True)
class Named:
    """A `memory.forgotten` that could be opened: its scope, and the (event id, span) that it names."""

    scope: Scope
    refs: tuple[tuple[str, str], ...]


def read_forget(record: LoggedRecord, keyring: Keyring) -> Named | None:
    """What a record of that type names; None for one that nobody can read (any more). Raises KeyMissing."""
    if record.header("ce_type") != MemoryForgotten.type:
        return None
    try:
        event = codec.decode(keyring.open(record))
    except (InvalidEvent, KeyErased):
        return None
    if not isinstance(event.body, MemoryForgotten) or event.scope is None:
        return None
    return Named(event.scope, tuple((ref.event_id, ref.span) for ref in event.body.spans))


@dataclass(slots=True)
class Forgets:
    """What a walk along the log has found so far. It grows with the spans that were forgotten by name, and with the sessions
    that were erased."""

    spans: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """(record key, event id) -> spans."""
    erased: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    """Record key -> the offset below which everything was forgotten, and the time up to which everything is, also what came to
    the log later."""

    unread: set[str] = field(default_factory=set)
    """Record keys of sessions of which something was forgotten that nobody can read any more: its key was erased, or the log
    has let it go."""

    def name(self, named: Named) -> None:
        """Takes the spans that a `memory.forgotten` names."""
        for event_id, span in named.refs:
            self.spans[named.scope.key, event_id].append(span)

    def erase(self, scope_key: str, offset: int, time: datetime) -> None:
        """Takes the erasure of a whole session: by its event at `offset`, which happened at `time` (aware)."""
        below, until = self.erased.get(scope_key, (offset, time))
        self.erased[scope_key] = max(offset, below), max(time, until)

    def cover(self, scope_key: str, row: MemoryRow) -> bool:
        """Whether the memory of that row was forgotten."""
        if scope_key in self.erased:
            below, until = self.erased[scope_key]
            if row.offset < below or row.created_at <= until:
                return True
        return any(overlap(row.span, span) for span in self.spans.get((scope_key, row.event_id), ()))

    def note(self, record: LoggedRecord, keyring: Keyring) -> None:
        """Takes a record into account that the ledger does not have yet."""
        named, key = read_forget(record, keyring), record.scope_key
        if named is not None:
            self.name(named)
        elif record.header("ce_type") == MemoryForgotten.type:
            self.unread.add(key)
        elif record.header("ce_type") == SessionForgotten.type:
            with contextlib.suppress(InvalidEvent, KeyErased):
                event = codec.decode(keyring.open(record))
                self.erase(key, record.offset, event.time)
