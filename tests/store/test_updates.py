"""A batch's updates in the order that takes few writes do to every memory what they do one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from crewmem_producers.names import record_key
from crewmem_store import effects
from crewmem_store.rows import MemoryRow
from crewmem_store.updates import (
    Erase,
    EraseKey,
    Extend,
    Forget,
    SupersedeFailures,
    SupersedeKey,
    Update,
    in_few_writes,
)  # fmt: skip
from hypothesis import given
from hypothesis import strategies as st
from store.store_rows import ALICE, BOB, NOON, memory, same

ROWS = [
    memory(offset, scope=scope, key=key, kind=kind, expires_at=NOON + timedelta(days=offset))
    for offset, (scope, key, kind) in enumerate(
        [(ALICE, "k", "note"), (ALICE, None, "failure"), (BOB, "k", "note"), (BOB, "k", "failure"), (ALICE, "k", "failure")]
    )
]  # fmt: skip


@st.composite
def batches(draw: st.DrawFn) -> list[Update]:
    """As a decider makes them: each at a later offset and time than the one before."""
    found: list[Update] = []
    for number in range(draw(st.integers(0, 12))):
        offset, time, row = 2 + number // 3, NOON + timedelta(days=10 + number), draw(st.sampled_from(ROWS))
        found.append(
            draw(
                st.sampled_from([
                    SupersedeKey(row.scope or "", "k", offset, time), SupersedeFailures(row.scope or "", "t1", offset, time),
                    Extend(row.id, offset, time), Forget((row.id,)), Erase(BOB, offset),
                    EraseKey(record_key(ALICE), offset),
                ])
            )
        )  # fmt: skip
    return found


def after(updates: Iterable[Update]) -> list[MemoryRow]:
    rows = ROWS
    for update in updates:
        rows = [effects.apply(row, update) for row in rows]
    return [row if row.text is not None else replace(row, superseded_at=None, expires_at=None) for row in rows]


@given(batches())
def test_the_order_makes_no_difference_to_what_can_be_recalled(updates: list[Update]) -> None:
    few = in_few_writes(updates)
    assert len(few) <= len(updates)
    assert all(same(*pair) for pair in zip(after(updates), after(few), strict=True))


def test_all_that_is_forgotten_between_two_erasures_is_one_update() -> None:
    updates = [Forget(("a",)), Extend("b", 3, NOON), Forget(("c", "a")), Erase(ALICE, 4), Forget(("d",))]
    assert in_few_writes(updates) == [Forget(("a", "c")), Extend("b", 3, NOON), Erase(ALICE, 4), Forget(("d",))]
