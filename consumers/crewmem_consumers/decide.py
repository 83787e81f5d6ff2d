"""Decide: the outcome of every span of a batch, in offset order, from one view of the store and the batch's own effects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from crewmem_producers.events import Event, KickoffCompleted, MemoryForgotten, SessionForgotten
from crewmem_producers.names import Scope, memory_id
from crewmem_producers.spans import overlap
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome, Vector
from crewmem_store.store import PartitionView
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update, in_few_writes

from crewmem_consumers import memories, outcomes
from crewmem_consumers.draft import Draft
from crewmem_consumers.echo import ECHO
from crewmem_consumers.item import Item
from crewmem_consumers.neighbours import Compared
from crewmem_consumers.outcomes import Fate
from crewmem_consumers.select import LIMIT, MAX_MEMORIES
from crewmem_consumers.sessions import Session, Sessions
from crewmem_consumers.split import CONTENT

NEAR = 0.95
"""The cosine from which two texts say the same, if their claims are equal."""


@dataclass(slots=True)
class Plan:
    """What a batch writes, in the order in which it is written."""

    rows: list[MemoryRow] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    ledger: list[LedgerRow] = field(default_factory=list)


class Decider:
    """Decides one batch. `embedder` is the fingerprint that rows note."""

    def __init__(self, view: PartitionView, *, partition: int, sessions: Sessions, embedder: str) -> None:
        self._view = view
        self._partition = partition
        self._embedder = embedder
        self._sessions = sessions
        self._seen: dict[tuple[str | None, str], int] = {}
        self._compared: dict[int, Compared] = {}
        self._plan = Plan()
        self._updates: list[Update] = []
        self._changed: set[str] = set()

    def decide(self, items: Sequence[Item]) -> Plan:
        """The plan of a whole batch; `items` are in offset order."""
        self._compare(items)
        for item in items:
            self._plan.ledger.append(self._ledger_row(item))
        self._end_run()
        return self._plan

    def _compare(self, items: Sequence[Item]) -> None:
        """Holds the drafts of each session against what is there of it, all at once: in a large one most of the work."""
        drafts: dict[Scope, list[tuple[Draft, Vector]]] = defaultdict(list)
        for item in items:
            for draft in item.selection.kept if item.selection is not None else ():
                if draft.event.scope is not None and draft.vector is not None and _may_repeat_by_meaning(draft):
                    drafts[draft.event.scope].append((draft, draft.vector))
        for scope, ones in drafts.items():
            found = self._sessions[scope].compare([vector for _, vector in ones], NEAR)
            self._compared |= {id(draft): compared for (draft, _), compared in zip(ones, found, strict=True)}

    def _ledger_row(self, item: Item) -> LedgerRow:
        event, offset = item.event, item.record.offset
        if event is None:
            return self._erased(item) if item.erased else outcomes.dead_letter(item)
        if event.key is None:
            return outcomes.applied(item)
        first = self._first(event, offset)
        if first is not None:
            return outcomes.repeated(item, first)
        self._seen[event.key, event.id] = offset
        if isinstance(event.body, SessionForgotten):
            self._erase(event, offset)
            return outcomes.applied(item)
        assert event.scope is not None, "every other event of a session names it"
        if isinstance(event.body, MemoryForgotten):
            self._forget(event, event.body, event.scope, offset)
            return outcomes.applied(item)
        return outcomes.of_spans(item, self._spans(item, event.scope))

    def _erased(self, item: Item) -> LedgerRow:
        """The record cannot be opened, but its event id counts as processed: a later copy is a repeat, in this batch too."""
        entry = outcomes.erased(item)
        if entry.ce_id is not None:
            self._seen.setdefault((entry.scope_key, entry.ce_id), entry.offset)
        return entry

    def _first(self, event: Event, offset: int) -> int | None:
        """The offset at which this event was processed before; a dead letter was not processed."""
        seen = self._seen.get((event.key, event.id))
        if seen is not None:
            return seen
        earlier = (
            row.offset
            for row in self._view.ledger(event.id)
            if row.scope_key == event.key and row.offset < offset and row.outcome is not Outcome.DEAD_LETTER
        )
        return min(earlier, default=None)

    def _erase(self, event: Event, offset: int) -> None:
        marker = memories.erasure(event, partition=self._partition, offset=offset)
        update = EraseKey(event.key or "", offset) if event.scope is None else Erase(str(event.scope), offset)
        self._plan.rows.append(marker)
        self._updates.append(update)
        self._sessions.erase(marker, update)

    def _forget(self, event: Event, body: MemoryForgotten, scope: Scope, offset: int) -> None:
        session = self._sessions[scope]
        ids: dict[str, None] = {}
        for ref in body.spans:
            id = memory_id(self._partition, str(scope), ref.event_id, ref.span)
            if session.get(id) is None:
                row = memories.forgotten(event, ref.event_id, ref.span, partition=self._partition, offset=offset)
                self._write(scope, row)
            ids[id] = None
            ids |= dict.fromkeys(row.id for row in session.of_event(ref.event_id) if overlap(row.span, ref.span))
        self._effect(scope, Forget(tuple(ids)))

    def _spans(self, item: Item, scope: Scope) -> dict[str, Fate]:
        """The fate of every span, in the order of the event."""
        assert item.selection is not None
        fates = {name: Fate(Outcome.DROPPED, rule) for name, rule in item.selection.dropped}
        room = self._room(item, scope)
        for place, draft in enumerate(item.selection.kept):
            fates[draft.span.name] = self._fate(draft, scope, item.record.offset, room=place < room)
        return fates

    def _room(self, item: Item, scope: Scope) -> int:
        """How many memories the kickoff may still leave: it may have come as several events."""
        assert item.event is not None
        execution = item.event.body.execution_id
        if not isinstance(item.event.body, KickoffCompleted) or execution is None:
            return MAX_MEMORIES
        kept = [
            row
            for row in self._sessions[scope].of_parent(execution)
            if row.event_id != item.event.id and row.offset < item.record.offset and row.span != CONTENT
        ]
        return max(0, MAX_MEMORIES - len(kept))

    def _fate(self, draft: Draft, scope: Scope, offset: int, *, room: bool) -> Fate:
        session = self._sessions[scope]
        id = memory_id(self._partition, str(scope), draft.event.id, draft.span.name)
        row = session.get(id)
        if row is None:
            row = self._judge(draft, session, offset, room=room)
            self._write(scope, row)
        self._effects(draft, row, scope, offset)
        rule = draft.decision.rule
        if row.outcome is Outcome.DROPPED:
            rule = LIMIT if draft.content is not None else ECHO
        return Fate(row.outcome, rule, memory_id=id, duplicate_of=row.duplicate_of, errors=draft.decision.errors)

    def _judge(self, draft: Draft, session: Session, offset: int, *, room: bool) -> MemoryRow:
        """The row of a span that is not in the table: this is the decision."""
        partition = self._partition
        if session.is_erased(offset=offset, time=draft.event.time) or _is_forgotten(draft, session):
            return memories.tombstone(draft, Outcome.FORGOTTEN, partition=partition, offset=offset)
        if draft.content is None or not room:
            return memories.tombstone(draft, Outcome.DROPPED, partition=partition, offset=offset)
        survivor = _survivor(draft, session, offset, self._compared.get(id(draft), Compared()))
        if survivor is not None:
            return memories.tombstone(draft, Outcome.DUPLICATE, partition=partition, offset=offset, duplicate_of=survivor.id)
        return memories.stored(draft, partition=partition, offset=offset, embedder=self._embedder)

    def _effects(self, draft: Draft, row: MemoryRow, scope: Scope, offset: int) -> None:
        """What the span does to memories before it; again, and to no effect, when it was decided before."""
        if row.outcome not in (Outcome.STORED, Outcome.DUPLICATE):
            return
        time, key = draft.event.time, memories.key_of(draft)
        if row.outcome is Outcome.STORED and key is not None:
            self._effect(scope, SupersedeKey(str(scope), key, offset, time))
        if row.outcome is Outcome.DUPLICATE and row.duplicate_of is not None:
            self._effect(scope, Extend(row.duplicate_of, offset, memories.expires_at(draft)))
        if memories.kind_of(draft) == memories.COMPLETED and draft.task_key is not None:
            self._effect(scope, SupersedeFailures(str(scope), draft.task_key, offset, time))

    def _write(self, scope: Scope, row: MemoryRow) -> None:
        self._sessions[scope].add(row)
        self._plan.rows.append(row)

    def _effect(self, scope: Scope, update: Update) -> None:
        """Plans an update that changes a row now. A Forget is always planned: an owner that was paused may still insert its
        row."""
        changed = self._sessions[scope].apply(update)
        if isinstance(update, Forget):
            if not self._changed.isdisjoint(update.ids):
                self._end_run()
        else:
            self._changed.update(changed)
        if changed or isinstance(update, Forget):
            self._updates.append(update)

    def _end_run(self) -> None:
        """Of what is planned after this, nothing is written before it: what happened to a row is there when it is forgotten."""
        self._plan.updates += in_few_writes(self._updates)
        self._updates, self._changed = [], set()


def _is_forgotten(draft: Draft, session: Session) -> bool:
    """Whether a `memory.forgotten` before this event named the span, or one that shares input with it."""
    return any(
        row.outcome is Outcome.FORGOTTEN and overlap(row.span, draft.span.name) for row in session.of_event(draft.event.id)
    )


def _may_repeat_by_meaning(draft: Draft) -> bool:
    """Whether vectors are asked what the draft repeats."""
    return draft.decision.keep.duplicates == "near" and memories.key_of(draft) is None


def _survivor(draft: Draft, session: Session, offset: int, compared: Compared) -> MemoryRow | None:
    """The earliest memory that this span only repeats: of equal source, else (without a key) close to it with equal claims."""
    if draft.decision.keep.duplicates == "keep":
        return None
    found = [row for row in session.equal(draft.source_hash) if _stands_for(row, draft, offset)]
    if not found and draft.vector is not None and _may_repeat_by_meaning(draft):
        near = session.near(draft.vector, draft.extract, NEAR, compared)
        found = [row for row in near if _stands_for(row, draft, offset)]
    return min(found, key=lambda row: (row.offset, row.span), default=None)


def _stands_for(row: MemoryRow, draft: Draft, offset: int) -> bool:
    """Whether the row may be what the draft is a duplicate of."""
    return (
        row.text is not None
        and row.offset < offset
        and row.event_id != draft.event.id
        and row.kind == memories.kind_of(draft)
        and row.key == memories.key_of(draft)
        and row.superseded_at is None
        and (row.expires_at is None or row.expires_at > draft.event.time)
    )
