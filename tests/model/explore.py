"""Every state that two owners can bring the tables into, and what must hold in each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from crewmem_store.rows import LedgerRow, MemoryRow
from model.protocol import KEY_ERASED, Owner, Protocol, Tables
from model.records import Log, covers, event_id, origin, unreadable

State = tuple[Tables, Owner, Owner]


@dataclass(frozen=True)
class Violation:
    """What is wrong, and the shortest way there."""

    log: Log
    fault: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"log {' '.join(self.log)}: {self.fault}\n" + "\n".join(f"  {step}" for step in self.path)


class _Moves:
    """What may follow a state, over one log. What an owner may do depends on the tables and on itself alone."""

    def __init__(self, log: Log, protocol: Protocol) -> None:
        self._log = log
        self._protocol = protocol
        self._found: dict[tuple[Tables, Owner], list[tuple[Tables, Owner]]] = {}
        self.stirred: dict[Tables, str] = {}
        """Tables that came of a commit that changed a tombstone."""

    def after(self, state: State) -> Iterator[State]:
        tables, first, second = state
        yield from ((after, *_ordered(moved, second)) for after, moved in self._of(tables, first))
        yield from ((after, *_ordered(first, moved)) for after, moved in self._of(tables, second))
        if self._protocol.sealed and not tables.key_erased:
            yield tables._replace(key_erased=True), first, second

    def _of(self, tables: Tables, owner: Owner) -> list[tuple[Tables, Owner]]:
        found = self._found.get((tables, owner))
        if found is None:
            found = self._found[tables, owner] = list({move[1:] for move in self._protocol.moves(self._log, tables, owner)})
            self.stirred |= {after: fault for after, _ in found if (fault := self._stirred(tables, after))}
        return found

    def _stirred(self, before: Tables, after: Tables) -> str | None:
        """Nothing but an erasure, which hides its session's name, changes a tombstone."""
        rows = self._protocol.memory_rows
        for row in (rows[number] for number in set(before.memory) - set(after.memory)):
            left = next((rows[number] for number in after.memory if rows[number].id == row.id), None)
            if row.text is None and (left is None or left.scope == row.scope):
                return f"the tombstone of {row.event_id} does not stay as it is"
        return None


class Explorer:
    """Explores one log after the other with one `Protocol`; what is right is what one undisturbed owner makes of the log."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._right = Protocol(sealed=protocol.sealed)
        self.states = 0

    def check(self, log: Log) -> Violation | None:
        """The first violation that can be reached, breadth first; None: there is none."""
        moves = _Moves(log, self._protocol)
        expected = self._sequential(log)
        start = (Tables(), Owner(), Owner())
        came: dict[State, State | None] = {start: None}
        sound: set[tuple[Tables, bool]] = set()
        queue = deque([start])
        while queue:
            state = queue.popleft()
            tables, at_rest = state[0], state[1].idle and state[2].idle
            if (tables, at_rest) not in sound:
                fault = moves.stirred.get(tables) or next(self._faults(log, tables, expected, at_rest=at_rest), None)
                if fault is not None:
                    return Violation(log, fault, tuple(self._path(log, came, state)))
                sound.add((tables, at_rest))
            for reached in moves.after(state):
                if reached not in came:
                    came[reached] = state
                    queue.append(reached)
        self.states += len(came)
        return None

    def _sequential(self, log: Log) -> list[Tables]:
        """The tables after each record, as one owner leaves them that reads one record at a time before any key is erased."""
        states, tables = [], Tables()
        for place in range(len(log)):
            owner = Owner(place, place + 1, decoded=(False,))
            (_, tables, owner), *_ = self._right._decide(log, tables, owner)
            for op in owner.ops:
                tables = self._right.apply(tables, op)
            states.append(tables)
        return states

    def _faults(self, log: Log, tables: Tables, expected: list[Tables], *, at_rest: bool) -> Iterator[str]:
        protocol = self._protocol
        rows = protocol.shown(tables)
        entries = {protocol.ledger_rows[number].offset: protocol.ledger_rows[number] for number in tables.ledger}
        by_id = {row.id: row for row in rows}
        if len(by_id) < len(rows):
            yield "two rows have one id"
        if len(entries) < len(tables.ledger):
            yield "two ledger rows have one offset"
        if sorted(entries) != list(range(len(entries))):
            yield "the ledger skips a position"
        done = [place for place in entries if not (tables.key_erased and unreadable(log, place))]
        yield from (f"{row.event_id} is shown and was forgotten" for row in rows if _forbidden(log, row, done))
        yield from (f"the summary of {row.event_id} is there without its text" for row in rows if row.summary and not row.text)
        for entry in entries.values():
            if tables.key_erased and unreadable(log, entry.offset):
                continue  # whoever read it wrote one thing, whoever could not another: both end at the erasure
            for name, fate in entry.spans.items():
                row = by_id.get(fate.get("memory_id", ""))
                if "memory_id" in fate and (row is None or row.outcome != fate["outcome"]):
                    yield f"the ledger says {fate['outcome']} of {entry.ce_id} {name}, its row does not"
        if entries:
            yield from self._not_yet(log, tables, by_id, expected[len(entries) - 1])
        if at_rest and len(entries) == len(log):
            yield from self._different(log, tables, expected[-1])

    def _not_yet(self, log: Log, tables: Tables, rows: dict[str, MemoryRow], expected: Tables) -> Iterator[str]:
        """A ledger row means that its effect is in the store."""
        for right in self._right.shown(expected):
            row = rows.get(right.id)
            if tables.key_erased and unreadable(log, right.offset):
                continue
            if row is None:
                yield f"the ledger is further than the rows: {right.event_id} has none"
            elif row.text is not None and not _as_far(row, right):
                yield f"the ledger is further than an update of {right.event_id}"

    def _different(self, log: Log, tables: Tables, expected: Tables) -> Iterator[str]:
        """Both owners rest, and every position is in the ledger: it is what one owner would have left."""
        sides = ((self._protocol, tables), (self._right, expected))
        found, right = (self._readable(log, protocol, tables) for protocol, tables in sides)
        yield from (f"one owner leaves {row}" for row in sorted(right - found)[:1])
        yield from (f"one owner would not leave {row}" for row in sorted(found - right)[:1])
        owner = self._protocol.opened(tables)
        for op in owner.ops:
            tables = self._protocol.apply(tables, op)
        for number in tables.memory:
            row = self._protocol.memory_rows[number]
            if _forbidden(log, row, range(len(log))):
                yield f"the text of {row.event_id} stays in the table"

    def _readable(self, log: Log, protocol: Protocol, tables: Tables) -> set[str]:
        """The content, without the positions that some owners could read and others could not any more."""
        gone = {place for place in range(len(log)) if protocol.sealed and unreadable(log, place)}
        events = {event_id(origin(log, place)) for place in gone}
        rows = {_told(_content(row)) for row in protocol.shown(tables) if row.event_id not in events}
        entries = (protocol.ledger_rows[number] for number in tables.ledger)
        return rows | {_told(entry) for entry in entries if entry.offset not in gone}

    def _path(self, log: Log, came: dict[State, State | None], state: State | None) -> list[str]:
        """The moves that lead to the state, each with who made it."""
        states: list[State] = []
        while state is not None:
            states.append(state)
            state = came[state]
        tables, a, b = states.pop()
        owners, found = {"A": a, "B": b}, []
        for following in reversed(states):
            found.append(self._step(log, tables, owners, following))
            tables = following[0]
        return found

    def _step(self, log: Log, tables: Tables, owners: dict[str, Owner], following: State) -> str:
        """The move that leads there; `owners` moves along."""
        for name, owner in owners.items():
            (other,) = (owners[one] for one in owners if one != name)
            for step, after, moved in self._protocol.moves(log, tables, owner):
                if (after, *_ordered(moved, other)) == following:
                    owners[name] = moved
                    records = f" {owner.position} to {moved.end - 1}" if moved.end > owner.end else ""
                    return f"{name}: {step}{records}"
        return KEY_ERASED


def _ordered(first: Owner, second: Owner) -> tuple[Owner, Owner]:
    """It makes no difference which of the two owners is which."""
    return (first, second) if hash(first) <= hash(second) else (second, first)


def _told(row: MemoryRow | LedgerRow) -> str:
    """What is there to be told of it, all that is not as it is by default."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, "", (), {}))


def _content(row: MemoryRow) -> MemoryRow:
    """What must be the same whoever wrote when: of a tombstone not what was true of its text at the end."""
    return replace(row, summary=None, **({"expires_at": None, "superseded_at": None} if row.text is None else {}))


def _as_far(row: MemoryRow, right: MemoryRow) -> bool:
    """Whether what was done to one was done to the other."""
    if right.text is None or (right.superseded_at is not None and row.superseded_at != right.superseded_at):
        return False
    return row.expires_at is None or (right.expires_at is not None and row.expires_at >= right.expires_at)


def _forbidden(log: Log, row: MemoryRow, finished: Iterable[int]) -> bool:
    """Whether the row has text that one of these forgets covers. (One that nobody could read is covered by its session's.)"""
    return row.text is not None and any(covers(log, place, row.event_id, row.offset, row.created_at) for place in finished)
