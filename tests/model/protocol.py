"""The write protocol as a transition system: the tables of one partition, and what an owner of it may do next.

Decisions are those of the consumer's own `Decider`, and updates mean what the store's own `effects.apply` says; only the
tables and the interleaving are written anew here. Each move is one commit to one table, or one read, and bears the name that
`steps` gives it. An owner may stop between any two of them for as long as it likes, or for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from crewmem_consumers import steps
from crewmem_consumers.decide import Decider, Plan
from crewmem_consumers.draft import Draft
from crewmem_consumers.item import Item
from crewmem_consumers.outcomes import Fate
from crewmem_consumers.sessions import Sessions
from crewmem_producers.names import Scope, record_key
from crewmem_store import effects
from crewmem_store.memory import MemoryView
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from crewmem_store.updates import Erase, Extend, Forget, SupersedeFailures, SupersedeKey, Update
from model.records import SCOPE, Log, item, unreadable

OPENED, ERASED_AGAIN, KEY_ERASED = "opens the partition", "erased again", "the data key is erased"
SUMMARY_ASKED, SUMMARY_WRITTEN = "asks for a summary", "summary written"


class Guard(Enum):
    """What the protocol rests on. Without any one of them the model finds a log and a schedule that break it."""

    INSERT_ONLY_WHAT_IS_NOT_THERE = "a merge inserts only ids that are not there"
    LEAVE_WHAT_IS_THERE = "a merge leaves a row that is there as it is"
    LEDGER_ONCE = "a position that is in the ledger stays as it is"
    ROWS_BEFORE_UPDATES = "the rows of a batch are in the table before its updates run"
    UPDATES_BEFORE_LEDGER = "the ledger is written after the updates"
    ROWS_BEFORE_LEDGER = "the ledger is written after the rows"
    OFFSET_BELOW_CAUSE = "an update touches only rows below the offset of its cause"
    TEXT_IS_NOT_NULL = "an update touches only rows that have text"
    SUPERSEDED_ONCE = "superseded_at is set once"
    TOMBSTONES_FOR_DUPLICATES = "a duplicate leaves a row"
    TOMBSTONES_FOR_FORGOTTEN = "a forget leaves a row for every id that it names"
    NEVER_DELETE = "a forget empties a row and never deletes it"
    ONE_VERSION = "a batch is decided from one version of the table"
    OWN_EFFECTS = "a record is decided after the effects of those before it in its batch"
    DECIDED_ONCE = "a span whose id is in the table is not judged again"
    REPEATS_ARE_KNOWN = "the ledger tells which events were processed before"
    ERASED_AGAIN = "whoever opens a partition erases again what a late writer put below an erasure"
    HIDDEN_FROM_READERS = "readers leave out what lies below an erasure"
    HIDDEN_FROM_DECISIONS = "decisions leave out what lies below an erasure"
    ERASED_BY_TIME = "what is older than the session's forget is forgotten wherever it lies"
    SUMMARY_NEEDS_TEXT = "a summary is added only to a row that still has text"


class Op(NamedTuple):
    """One commit to one table. `step` is the step that is reached when the last of its kind is done."""

    step: str
    rows: tuple[int, ...] = ()
    update: Update | None = None


class Owner(NamedTuple):
    """An owner of the partition: where it will read on, and what it has in hand."""

    position: int = 0
    end: int = 0
    decoded: tuple[bool, ...] | None = None  # of each record in hand: whether its key was erased already
    looked: tuple[int, ...] | None = None  # only without ONE_VERSION: the rows that were there at a first look
    ops: tuple[Op, ...] = ()
    summary_of: str | None = None

    @property
    def idle(self) -> bool:
        return not self.ops and self.decoded is None and self.summary_of is None


class Tables(NamedTuple):
    """The memory table and the ledger of the partition (numbers of rows, see `Protocol`), and whether the data key is gone."""

    memory: tuple[int, ...] = ()
    ledger: tuple[int, ...] = ()
    key_erased: bool = False


Move = tuple[str, Tables, Owner]


@dataclass(eq=False)
class Protocol:
    """The moves, with one guard taken out or none; `sealed`: records can become unreadable; `summaries`: owners add summaries,
    as an LLM writes them, to rows that they read a while ago. Rows are numbers of `memory_rows` and `ledger_rows`, so that
    states are small and compare quickly."""

    without: Guard | None = None
    sealed: bool = False
    summaries: bool = False

    def __post_init__(self) -> None:
        self.memory_rows: list[MemoryRow] = []
        self.ledger_rows: list[LedgerRow] = []
        self._numbers: dict[str, int] = {}
        self._plans: dict[Any, tuple[Op, ...]] = {}
        self.apply = cache(self._apply)
        self._changed = cache(self._changed_row)
        self.shown = cache(self._shown)

    def moves(self, log: Log, tables: Tables, owner: Owner) -> Iterator[Move]:
        """Everything that this owner may do next."""
        if owner.ops:
            op, rest = owner.ops[0], owner.ops[1:]
            yield op.step, self.apply(tables, op), owner._replace(ops=rest, position=owner.position if rest else owner.end)
        elif owner.summary_of is not None:
            yield SUMMARY_WRITTEN, self._summarised(tables, owner.summary_of), owner._replace(summary_of=None)
        elif owner.decoded is not None:
            yield from self._decide(log, tables, owner)
        else:
            yield from self._read(log, tables, owner)
            if self.summaries:
                yield from self._ask_for_summaries(tables, owner)
        fresh = self.opened(tables)
        if fresh != owner:
            yield OPENED, tables, fresh

    def opened(self, tables: Tables) -> Owner:
        """A process that starts, after a kill or a rebalance: the ledger is its position, and it erases again."""
        last = max((self.ledger_rows[number].offset for number in tables.ledger), default=-1)
        ops: tuple[Op, ...] = ()
        if self.without is not Guard.ERASED_AGAIN:
            rows = [self.memory_rows[number] for number in tables.memory]
            below = effects.erasures(rows).get(record_key(SCOPE), -1)
            late = any(row.scope == SCOPE and row.offset < below for row in rows)
            ops = (Op(ERASED_AGAIN, update=Erase(SCOPE, below)),) if late else ()
        return Owner(position=last + 1, end=last + 1, ops=ops)

    def _read(self, log: Log, tables: Tables, owner: Owner) -> Iterator[Move]:
        """Reads some records from the position on; the key of a session is gone before its `e` is on the log."""
        for end in range(owner.position + 1, len(log) + 1):
            if self.sealed and "e" in log[owner.position : end] and not tables.key_erased:
                continue
            gone = tuple(tables.key_erased and unreadable(log, place) for place in range(owner.position, end))
            read = owner._replace(end=end, decoded=gone)
            may_vanish = self.sealed and any(unreadable(log, place) for place in range(owner.position, end))
            if may_vanish or self.without is Guard.ONE_VERSION:
                yield steps.DECODED, tables, read
            else:  # when a record was read makes no difference
                yield from self._decide(log, tables, read)

    def _decide(self, log: Log, tables: Tables, owner: Owner) -> Iterator[Move]:
        if self.without is Guard.ONE_VERSION and owner.looked is None:
            yield "looked", tables, owner._replace(looked=tables.memory)
            return
        seen = tables.memory
        if owner.looked is not None:
            there = {self.memory_rows[number].id for number in owner.looked}
            seen = tuple(number for number in seen if self.memory_rows[number].id in there)
        items = tuple(item(log, owner.position + n, erased=gone) for n, gone in enumerate(owner.decoded or ()))
        ops = self._ops(items, seen, tables.ledger)
        yield steps.DECIDED, tables, owner._replace(decoded=None, looked=None, ops=ops)

    def _ops(self, items: tuple[Item, ...], memory: tuple[int, ...], ledger: tuple[int, ...]) -> tuple[Op, ...]:
        key = (tuple(map(id, items)), memory, ledger)
        if key not in self._plans:
            self._plans[key] = tuple(self._in_order(self._plan(items, memory, ledger)))
        return self._plans[key]

    def _plan(self, items: Sequence[Item], memory: tuple[int, ...], ledger: tuple[int, ...]) -> Plan:
        rows = [self.memory_rows[number] for number in memory]
        if self.without is not Guard.HIDDEN_FROM_DECISIONS:
            below = effects.erasures(rows)
            rows = [effects.effective(row, below) for row in rows]
        if self.without is Guard.ERASED_BY_TIME:
            rows = [replace(row, created_at=row.created_at.replace(year=1)) if effects.is_marker(row) else row for row in rows]
        entries = [] if self.without is Guard.REPEATS_ARE_KNOWN else [self.ledger_rows[number] for number in ledger]
        decider = Rejudging if self.without is Guard.DECIDED_ONCE else Decider

        def decide(some: Sequence[Item]) -> Plan:
            view = MemoryView(rows, entries)
            return decider(view, partition=0, sessions=Sessions(view, dimensions=4), embedder="").decide(some)

        if self.without is not Guard.OWN_EFFECTS:
            return decide(items)
        plans = [decide([one]) for one in items]
        return Plan(*([part for plan in plans for part in getattr(plan, name)] for name in ("rows", "updates", "ledger")))

    def _in_order(self, plan: Plan) -> list[Op]:
        """The commits of `PartitionStore.commit`."""
        kept = [self._row(row) for row in plan.rows if not self._left_out(row)]
        rows = [Op(steps.ROWS_MERGED, rows=tuple(kept))] if kept else []
        updates = [Op(steps.UPDATES_APPLIED, update=update) for update in plan.updates]
        ledger = [Op(steps.LEDGER_WRITTEN, rows=tuple(self._entry(row) for row in plan.ledger))]
        match self.without:
            case Guard.ROWS_BEFORE_UPDATES:
                return updates + rows + ledger
            case Guard.UPDATES_BEFORE_LEDGER:
                return rows + ledger + updates
            case Guard.ROWS_BEFORE_LEDGER:
                return ledger + rows + updates
        return rows + updates + ledger

    def _left_out(self, row: MemoryRow) -> bool:
        if self.without is Guard.TOMBSTONES_FOR_DUPLICATES:
            return row.outcome is Outcome.DUPLICATE
        if self.without is Guard.TOMBSTONES_FOR_FORGOTTEN:
            return row.outcome is Outcome.FORGOTTEN and not effects.is_marker(row)
        return False

    def _apply(self, tables: Tables, op: Op) -> Tables:
        if op.step == steps.ROWS_MERGED:
            return tables._replace(memory=self._merged(tables.memory, op.rows))
        if op.step == steps.LEDGER_WRITTEN:
            there = {self.ledger_rows[number].offset for number in tables.ledger}
            once = self.without is not Guard.LEDGER_ONCE
            new = [number for number in op.rows if not once or self.ledger_rows[number].offset not in there]
            return tables._replace(ledger=tuple(sorted((*tables.ledger, *new))))
        assert op.update is not None
        changed = (self._changed(number, op.update) for number in tables.memory)
        return tables._replace(memory=tuple(sorted(number for number in changed if number is not None)))

    def _merged(self, memory: tuple[int, ...], rows: tuple[int, ...]) -> tuple[int, ...]:
        new = {self.memory_rows[number].id: number for number in reversed(rows)}
        there = {self.memory_rows[number].id for number in memory}
        if self.without is Guard.INSERT_ONLY_WHAT_IS_NOT_THERE:
            there = set()
        elif self.without is Guard.LEAVE_WHAT_IS_THERE:
            memory, there = tuple(number for number in memory if self.memory_rows[number].id not in new), set()
        return tuple(sorted((*memory, *(number for id, number in new.items() if id not in there))))

    def _changed_row(self, number: int, update: Update) -> int | None:
        """The row after the update; None: it is deleted. A guard is taken out by hiding what it looks at."""
        row = seen = self.memory_rows[number]
        if self.without is Guard.NEVER_DELETE and isinstance(update, Forget):
            return None if row.id in update.ids else number
        if isinstance(update, SupersedeKey | SupersedeFailures | Extend):
            if self.without is Guard.OFFSET_BELOW_CAUSE:
                update = replace(update, before_offset=1 << 30)
            if self.without is Guard.TEXT_IS_NOT_NULL:
                seen = replace(row, text="any")
            if self.without is Guard.SUPERSEDED_ONCE:
                seen = replace(row, superseded_at=None)
        after = effects.apply(seen, update)
        if after is seen:
            return number
        return self._row(replace(after, text=row.text) if self.without is Guard.TEXT_IS_NOT_NULL and seen is not row else after)

    def _ask_for_summaries(self, tables: Tables, owner: Owner) -> Iterator[Move]:
        for row in self.shown(tables):
            if row.text is not None and row.summary is None:
                yield SUMMARY_ASKED, tables, owner._replace(summary_of=row.id)

    def _summarised(self, tables: Tables, id: str) -> Tables:
        def after(row: MemoryRow) -> MemoryRow:
            touched = row.id == id and (row.text is not None or self.without is Guard.SUMMARY_NEEDS_TEXT)
            return replace(row, summary="in short") if touched else row

        return tables._replace(memory=tuple(sorted(self._row(after(self.memory_rows[n])) for n in tables.memory)))

    def _shown(self, tables: Tables) -> list[MemoryRow]:
        """The rows as a reader sees them."""
        rows = [self.memory_rows[number] for number in tables.memory]
        below = {} if self.without is Guard.HIDDEN_FROM_READERS else effects.erasures(rows)
        return [effects.effective(row, below) for row in rows]

    def _row(self, row: MemoryRow) -> int:
        return _number(self.memory_rows, self._numbers, row)

    def _entry(self, row: LedgerRow) -> int:
        return _number(self.ledger_rows, self._numbers, row)


def _number(rows: list[Any], numbers: dict[str, int], row: Any) -> int:
    key = repr(row)
    if key not in numbers:
        numbers[key] = len(rows)
        rows.append(row)
    return numbers[key]


class Rejudging(Decider):
    """Without DECIDED_ONCE."""

    def _fate(self, draft: Draft, scope: Scope, offset: int, *, room: bool) -> Fate:
        row = self._judge(draft, self._sessions[scope], offset, room=room)
        self._write(scope, row)
        self._effects(draft, row, scope, offset)
        return Fate(row.outcome, draft.decision.rule, memory_id=row.id, duplicate_of=row.duplicate_of)
