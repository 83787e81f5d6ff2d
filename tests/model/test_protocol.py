"""The write protocol, checked over every log of up to 3 records (4: slow), with two owners that are killed, paused and come
back between any two commits to a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from crewmem_consumers import steps
from crewmem_consumers.decide import Decider
from crewmem_consumers.sessions import Sessions
from crewmem_producers.names import Scope
from crewmem_store.lance import LanceStore
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import Store
from model.explore import Explorer, Violation
from model.protocol import Guard, Op, Owner, Protocol, Tables
from model.records import SCOPE, Log, item, logs

OF_SEALED_RECORDS = (Guard.ERASED_AGAIN, Guard.HIDDEN_FROM_READERS, Guard.HIDDEN_FROM_DECISIONS)
"""What these guard against comes from an owner that read a record before its key was erased, while the others could not."""


def up_to(length: int, *, sealed: bool = False) -> Iterator[Log]:
    """Every log of so many records, the shortest first; sealing makes a difference only where a session is forgotten."""
    return (log for number in range(1, length + 1) for log in logs(number) if not sealed or "e" in log)


def first_violation(protocol: Protocol, some: Iterable[Log]) -> Violation | None:
    explorer = Explorer(protocol)
    found = next((violation for log in some if (violation := explorer.check(log))), None)
    print(found or f"{explorer.states} states, no violation")
    return found


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_whatever_two_owners_do_to_a_log_of_three_records_the_protocol_holds(sealed: bool) -> None:
    assert first_violation(Protocol(sealed=sealed), up_to(3, sealed=sealed)) is None


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_whatever_two_owners_do_to_a_log_of_four_records_the_protocol_holds(sealed: bool) -> None:
    assert first_violation(Protocol(sealed=sealed), (log for log in logs(4) if not sealed or "e" in log)) is None


def test_a_summary_that_comes_late_brings_nothing_back() -> None:
    assert first_violation(Protocol(summaries=True), up_to(2)) is None


@pytest.mark.parametrize("guard", Guard, ids=lambda guard: guard.name.lower())
def test_without_this_guard_the_model_finds_what_breaks(guard: Guard) -> None:
    sealed = guard in OF_SEALED_RECORDS
    protocol = Protocol(without=guard, sealed=sealed, summaries=guard is Guard.SUMMARY_NEEDS_TEXT)
    assert first_violation(protocol, up_to(3, sealed=sealed)) is not None


def test_the_model_writes_in_the_steps_that_the_code_names() -> None:
    assert [step for step in steps.STEPS if step in (steps.DECODED, steps.DECIDED, *steps.WRITES)] == [
        steps.DECODED, steps.DECIDED, steps.ROWS_MERGED, steps.UPDATES_APPLIED, steps.LEDGER_WRITTEN,
    ]  # fmt: skip
    named = {op.step for log in logs(2) for op in in_one_batch(Protocol(), log).ops}
    assert named == set(steps.WRITES)


def in_one_batch(protocol: Protocol, log: Log) -> Owner:
    """The owner that has decided the whole log, and has written nothing of it."""
    (decided,) = protocol._decide(log, Tables(), Owner(end=len(log), decoded=(False,) * len(log)))
    return decided[2]


Content = tuple[list[MemoryRow], list[LedgerRow]]


def in_the_model(log: Log) -> dict[str, Content]:
    """What the tables hold when each step is reached."""
    protocol, tables = Protocol(), Tables()
    ops, found = list(in_one_batch(protocol, log).ops), {}
    for step in steps.WRITES:
        while ops and ops[0].step == step:
            tables = protocol.apply(tables, ops.pop(0))
        ledger = [protocol.ledger_rows[number] for number in tables.ledger]
        found[step] = (_sorted(protocol.shown(tables)), sorted(ledger, key=lambda row: row.offset))
    assert ops == list[Op](), "every commit belongs to a step, in their order"
    return found


def in_a_store(log: Log, make: Callable[[Callable[[str], None]], Store]) -> dict[str, Content]:
    """The same of a real store, which tells each step."""
    found: dict[str, Content] = {}

    def look(step: str) -> None:
        reader = store.reader("g1")
        rows = [row for batch in reader.scan(0) for row in batch]
        found[step] = (_sorted(rows), list(reader.ledger(0, start=0, limit=100)))

    store = make(look)
    store.open(namespace="crewmem")
    part = store.partition("g1", 0, dimensions=4)
    items = [item(log, place, erased=False) for place in range(len(log))]
    ids = {one.event.id for one in items if one.event}
    view = part.view(scopes={SCOPE}, ce_ids=ids)
    plan = Decider(view, partition=0, sessions=Sessions(view, dimensions=4), embedder="").decide(items)
    part.commit(rows=plan.rows, updates=plan.updates, ledger=plan.ledger)
    store.close()
    assert list(found) == list(steps.WRITES)
    return found


def _sorted(rows: Iterable[MemoryRow]) -> list[MemoryRow]:
    return sorted(rows, key=lambda row: row.id)


@pytest.mark.parametrize("log", list(up_to(2)), ids=" ".join)
def test_at_each_step_the_store_in_memory_holds_what_the_model_says(log: Log) -> None:
    assert in_a_store(log, lambda look: MemoryStore(checkpoint=look)) == in_the_model(log)


@pytest.mark.parametrize("log", [("t", "a", "x0"), ("ka", "kb", "e"), ("f", "x2", "c"), ("a", "e", "l")], ids=" ".join)
def test_at_each_step_lancedb_holds_what_the_model_says(log: Log, tmp_path: Path) -> None:
    assert in_a_store(log, lambda look: LanceStore(str(tmp_path), checkpoint=look)) == in_the_model(log)


def test_the_records_of_the_model_are_of_one_session() -> None:
    scopes = {one.event.scope for log in logs(2) for place in (0, 1) if (one := item(log, place, erased=False)).event}
    assert scopes == {Scope.parse(SCOPE)}
