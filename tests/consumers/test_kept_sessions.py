"""What is kept of sessions between batches: bounded for the whole process, and let go of wherever it may not be true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from crewmem_consumers.kept_sessions import KeptSessions, SessionBudget
from crewmem_consumers.neighbours import Compared, Neighbours
from crewmem_consumers.sessions import Session, Sessions
from crewmem_producers.names import Scope
from crewmem_store.memory import MemoryView
from crewmem_store.rows import MemoryRow

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ONE, TWO, THREE = (Scope("default", name) for name in ("one", "two", "three"))


@dataclass(frozen=True)
class View(MemoryView):
    epoch: int | None = 1  # type: ignore[assignment]

    def rows(self, scope: str) -> list[MemoryRow]:
        return []

    def ledger(self, ce_id: str) -> list[object]:  # type: ignore[override]
        return []


def session(rows: int = 1) -> Session:
    made = (
        MemoryRow(
            id=f"0-{n}", scope=str(ONE), event_id=f"e{n}", span="content", offset=n, created_at=datetime.now(UTC), text="x"
        )
        for n in range(rows)
    )
    return Session(made, dimensions=4)


def batch(kept: KeptSessions, *scopes: Scope, view: View) -> dict[Scope, Session]:
    """A batch that opens these sessions; what was kept of them."""
    taken = kept.take(scopes)
    true = kept.are_true(view)
    sessions = Sessions(view, dimensions=4, kept=taken if true else {})
    for scope in scopes:
        sessions[scope]
    kept.keep(view, taken if true else {}, sessions)
    return taken if true else {}


def test_what_a_batch_opened_is_there_for_the_next_one_until_another_writer_came() -> None:
    kept = KeptSessions(SessionBudget())
    assert batch(kept, ONE, TWO, view=View()) == {}
    assert batch(kept, ONE, view=View()).keys() == {ONE}
    assert batch(kept, ONE, TWO, view=View()).keys() == {ONE, TWO}
    assert batch(kept, ONE, view=View(epoch=2)) == {}
    assert batch(kept, ONE, TWO, view=View(epoch=2)).keys() == {ONE}


def test_after_a_batch_that_was_not_written_nothing_is_kept() -> None:
    kept = KeptSessions(SessionBudget())
    batch(kept, ONE, TWO, view=View())
    assert kept.take([ONE]).keys() == {ONE}
    assert kept.take([ONE, TWO]) == {}


def test_a_store_that_can_say_nothing_keeps_nothing() -> None:
    kept = KeptSessions(SessionBudget())
    batch(kept, ONE, view=View(epoch=None))
    assert batch(kept, ONE, view=View(epoch=None)) == {}


def test_the_bound_is_one_for_all_partitions_and_what_was_used_longest_ago_goes_first() -> None:
    budget = SessionBudget(most_bytes=2 * session(10).bytes)
    budget.put("a", {ONE: session(10), TWO: session(10)})
    budget.put("a", budget.take("a", [ONE]))
    budget.put("b", {ONE: session(10)})
    assert budget.take("a", [ONE, TWO]).keys() == {ONE}
    assert budget.take("b", [ONE]).keys() == {ONE}
    budget.put("b", {ONE: session(30)})
    assert budget.take("b", [ONE]) == {}, "one that alone is over the bound is not kept"


def test_letting_go_of_one_owners_sessions_leaves_the_others() -> None:
    budget = SessionBudget()
    budget.put("a", {ONE: session()})
    budget.put("b", {THREE: session()})
    budget.forget("a")
    assert (budget.take("a", [ONE]), budget.take("b", [THREE]).keys()) == ({}, {THREE})


def test_vectors_that_are_compared_together_find_what_they_find_alone() -> None:
    dice = np.random.default_rng(5)
    matrix = dice.normal(size=(300, 16)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    neighbours = Neighbours(dimensions=16)
    for place, vector in enumerate(matrix[:200]):
        neighbours.add(f"{place}", vector)
    ahead = neighbours.compare(list(matrix), 0.5)
    for place, vector in enumerate(matrix[200:]):
        neighbours.add(f"{200 + place}", vector)
    for vector, compared in zip(matrix, ahead, strict=True):
        expected = [f"{place}" for place in range(300) if float(np.dot(matrix[place], vector)) >= 0.5]
        assert neighbours.near(vector, 0.5, compared) == expected == neighbours.near(vector, 0.5, Compared())
