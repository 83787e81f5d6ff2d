"""What a log of this workload must become: the rules of memory in a few lines of Python, apart from the code under test."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from datetime import datetime

from chaos.abuse import is_of_abuser
from crewmem_producers.codec import decode
from crewmem_producers.errors import InvalidEvent, KeyErased
from crewmem_producers.events import (
    SCHEMA_VERSION,
    Event,
    KickoffCompleted,
    MemoryForgotten,
    MemoryRemembered,
    RulesApplied,
    SessionForgotten,
)  # fmt: skip
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord
from crewmem_store.generations import Generation
from crewmem_store.rows import Outcome

Memory = tuple[str, str, str]
"""Scope, event id, span."""
Place = tuple[int, int]
"""Partition and offset."""
READ_BEFORE = frozenset({"stored", "duplicate", "forgotten", "dropped", "applied"})
"""What may have become of a record that can be opened no more, when it was read before its session was erased."""
ANYTHING = frozenset(Outcome)
"""Of an event of the tenant that attacks."""
READ_ANEW = frozenset({"dead_letter", "stored", "duplicate", "forgotten"})
"""What may become of a record of a newer version, and of its copies: it depends on when who came to read it."""
_TIDE = re.compile(r"'(tide\d)'")


@dataclass
class Expected:
    """`outcomes`: position -> the outcomes that are right. `live`: what has text, and that text. `superseded` and `forgotten`
    are of memories; a forgotten one may not have come yet."""

    outcomes: dict[Place, Set[str]] = field(default_factory=dict)
    live: dict[Memory, str] = field(default_factory=dict)
    superseded: set[Memory] = field(default_factory=set)
    forgotten: set[Memory] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    """Ids of the events that are on the log."""
    unreadable: dict[Place, LoggedRecord] = field(default_factory=dict)
    """What nobody can open any more, since its session was erased."""

    @property
    def shown(self) -> dict[Memory, str]:
        """What recalls give: live and not superseded."""
        return {memory: content for memory, content in self.live.items() if memory not in self.superseded}

    def is_gone(self, memory: Memory) -> bool:
        """Whether its text must never be seen again."""
        return memory in self.forgotten or memory[1] in self._unreadable_ids

    @property
    def _unreadable_ids(self) -> set[str | None]:
        return {record.header("ce_id") for record in self.unreadable.values()}


class Reader:
    """Goes over the partitions one after the other, each in offset order."""

    def __init__(self, generation: Generation, keyring: Keyring) -> None:
        self.found = Expected()
        self._generation = generation
        self._keyring = keyring
        self._seen: set[tuple[str, str]] = set()
        self._erased: dict[str, datetime] = {}
        self._of_session: dict[str, set[Memory]] = defaultdict(set)
        self._same: dict[tuple[str, str | None, str], Memory] = {}
        self._current: dict[tuple[str, str], Memory] = {}

    def partition(self, number: int, records: Iterable[LoggedRecord]) -> None:
        rules: str | None = None
        for record in records:
            place = (number, record.offset)
            if is_of_abuser(record.scope_key):
                self.found.outcomes[place] = ANYTHING
                continue
            try:
                event = decode(self._keyring.open(record))
            except InvalidEvent:
                self.found.outcomes[place] = {"dead_letter"}
                continue
            except KeyErased:
                self._unreadable(place, record)
                continue
            if isinstance(event.body, RulesApplied):
                rules = event.body.rules
            outcome = self._outcome(event, record.scope_key, self._dropped_tide(number, record.offset, rules))
            newer = event.body.schema_version > SCHEMA_VERSION
            self.found.outcomes[place] = READ_ANEW if newer else {outcome}

    def _unreadable(self, place: Place, record: LoggedRecord) -> None:
        event_id = record.header("ce_id") or ""
        self.found.unreadable[place] = record
        self.found.outcomes[place] = READ_BEFORE
        self.found.events.add(event_id)
        self._seen.add((record.scope_key, event_id))

    def _dropped_tide(self, partition: int, offset: int, rules: str | None) -> str | None:
        generation = self._generation
        if generation.rules is not None and offset < generation.rules_until.get(str(partition), 0):
            rules = generation.rules
        named = _TIDE.search(rules or "")
        return named[1] if named else None

    def _outcome(self, event: Event, session: str, dropped: str | None) -> str:
        """`session` is the record's key: it names a session also where the event itself does not."""
        self.found.events.add(event.id)
        if isinstance(event.body, SessionForgotten):
            self._erased[session] = max(event.time, self._erased.get(session, event.time))
            for memory in list(self._of_session[session]):
                self._forget(session, memory)
        if event.scope is None or isinstance(event.body, SessionForgotten):
            return "applied"
        if (session, event.id) in self._seen:
            return "duplicate"
        self._seen.add((session, event.id))
        scope = str(event.scope)
        match event.body:
            case MemoryForgotten() as body:
                for ref in body.spans:
                    self._forget(session, (scope, ref.event_id, ref.span))
                return "applied"
        kept = [(span, content) for span, content in _spans(event) if dropped is None or f"at {dropped}:" not in content]
        return _first_of({self._span(event, session, (scope, event.id, span), content) for span, content in kept})

    def _span(self, event: Event, session: str, memory: Memory, content: str) -> str:
        scope, key = memory[0], getattr(event.body, "key", None)
        if memory in self.found.forgotten or (session in self._erased and event.time <= self._erased[session]):
            self.found.forgotten.add(memory)
            return "forgotten"
        first = self._same.get((scope, key, content))
        if first in self.found.live and first not in self.found.superseded:
            return "duplicate"
        self._same[scope, key, content] = memory
        self._of_session[session].add(memory)
        self.found.live[memory] = content
        if key is not None:
            before = self._current.get((scope, key))
            if before in self.found.live:
                self.found.superseded.add(before)
            self._current[scope, key] = memory
        return "stored"

    def _forget(self, session: str, memory: Memory) -> None:
        self.found.forgotten.add(memory)
        self.found.live.pop(memory, None)
        self.found.superseded.discard(memory)
        self._of_session[session].discard(memory)


def _spans(event: Event) -> Iterator[tuple[str, str]]:
    body = event.body
    if isinstance(body, MemoryRemembered):
        yield "content", body.content
    elif isinstance(body, KickoffCompleted):
        yield from ((f"task/{task.index}", task.raw) for task in body.tasks)


def _first_of(fates: set[str]) -> str:
    return next((fate for fate in ("stored", "duplicate", "forgotten") if fate in fates), "dropped")
