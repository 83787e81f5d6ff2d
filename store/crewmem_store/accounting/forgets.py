"""What the log has forgotten: spans by name, sessions up to an offset."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent, KeyErased
from crewmem_producers.events import MemoryForgotten, SessionForgotten
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord
from crewmem_producers.names import Scope
from crewmem_producers.spans import overlap


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
    """Collected on the way along the log: as large as what was forgotten by name, and as the sessions that were erased."""

    spans: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """(record key, event id) -> spans."""
    erased: dict[str, int] = field(default_factory=dict)
    """Record key -> offset below which everything was forgotten."""

    def name(self, named: Named) -> None:
        for event_id, span in named.refs:
            self.spans[named.scope.key, event_id].append(span)

    def erase(self, scope_key: str, offset: int) -> None:
        self.erased[scope_key] = max(offset, self.erased.get(scope_key, -1))

    def cover(self, scope_key: str, event_id: str, span: str, offset: int) -> bool:
        """Whether the memory of that span was forgotten."""
        if offset < self.erased.get(scope_key, -1):
            return True
        return any(overlap(span, other) for other in self.spans.get((scope_key, event_id), ()))

    def note(self, record: LoggedRecord, keyring: Keyring) -> None:
        """Takes a record into account that the ledger does not have yet."""
        named = read_forget(record, keyring)
        if named is not None:
            self.name(named)
        elif record.header("ce_type") == SessionForgotten.type and record.key is not None:
            self.erase(record.key.decode("utf-8", "replace"), record.offset)
