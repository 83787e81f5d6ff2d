"""The conformance suite of the store contract: subclass `StoreConformance` and give it a `reopen` fixture.

Every test sees only the contract. `reopen()` gives a store object at the test's one place, each time anew: what one
wrote, the next one reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from crewmem_producers.names import Scope
from crewmem_store.errors import NamespaceMismatch
from crewmem_store.memory import SCAN_ROWS
from crewmem_store.rows import LedgerRow, Outcome
from crewmem_store.store import PartitionStore, Store, Summary
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update
from store.store_rows import (
    ALICE,
    BOB,
    DIMENSIONS,
    GEN,
    NOON,
    PARTITION,
    QUOTED,
    entry,
    marker,
    memory,
    owner,
    put,
    same,
    tombstone,
    unit,
)

Reopen = Callable[[], Store]


class StoreConformance:
    """Subclass it in a test module; name the class Test..."""

    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("a subclass gives the fixture `reopen`: a function that opens the place anew")

    @pytest.fixture
    def store(self, reopen: Reopen) -> Store:
        return reopen()

    @pytest.fixture
    def part(self, store: Store) -> PartitionStore:
        return owner(store)

    # The note

    def test_a_store_of_another_namespace_is_refused_with_the_remedy(self, reopen: Reopen) -> None:
        reopen()
        with pytest.raises(NamespaceMismatch, match="CREWMEM_NAMESPACE"):
            reopen().open(namespace="another")

    def test_opening_twice_is_harmless(self, store: Store) -> None:
        store.open(namespace="crewmem")
        store.open(namespace="crewmem")

    # Rows

    def test_a_row_comes_back_as_it_was_written(self, store: Store, part: PartitionStore) -> None:
        row = memory(
            3, scope=QUOTED, summary="s", expires_at=NOON + timedelta(days=30, microseconds=5), key="price",
            importance=0.25, superseded_at=NOON, summariser="llm",
        )  # fmt: skip
        put(part, row)
        assert same(store.reader(GEN).get(row.id), row)

    def test_a_tombstone_comes_back_with_what_it_is_a_duplicate_of(self, store: Store, part: PartitionStore) -> None:
        row = tombstone(4, duplicate_of="7-abc")
        put(part, row)
        reader = store.reader(GEN)
        assert same(reader.get(row.id), row)
        assert [found.id for found in reader.duplicates("7-abc")] == [row.id]

    def test_an_id_that_is_there_keeps_what_it_has(self, store: Store, part: PartitionStore) -> None:
        first = memory(1)
        put(part, first)
        put(part, memory(1, text="another text", outcome=Outcome.DROPPED), memory(2))
        reader = store.reader(GEN)
        assert same(reader.get(first.id), first)
        assert len(reader.rows({ALICE}, partitions={PARTITION}).rows) == 2

    def test_an_id_twice_in_one_batch_is_inserted_once_as_it_came_first(self, store: Store, part: PartitionStore) -> None:
        first = memory(1)
        put(part, first, memory(1, text="another text"))
        assert [row.text for row in store.reader(GEN).by_event("event-1")] == [first.text]

    def test_repeating_a_commit_changes_nothing(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(0, kind="failure"), memory(1, key="k"), memory(2), memory(3)]
        updates = [
            SupersedeKey(ALICE, "k", 4, NOON), SupersedeFailures(ALICE, "t1", 4, NOON),
            Extend(rows[2].id, 4, NOON), Forget((rows[3].id,)),
        ]  # fmt: skip
        ledger = [entry(n) for n in range(5)]
        part.commit(rows=rows, updates=updates, ledger=ledger)
        before = [store.reader(GEN).get(row.id) for row in rows]
        part.commit(rows=rows, updates=updates, ledger=ledger)
        after = [store.reader(GEN).get(row.id) for row in rows]
        assert all(new is not None and same(old, new) for old, new in zip(before, after, strict=True))
        assert store.reader(GEN).outcomes(PARTITION) == {"stored": 5}

    def test_an_empty_commit_is_harmless(self, store: Store, part: PartitionStore) -> None:
        put(part)
        assert part.last() is None
        assert store.reader(GEN).last_offset(PARTITION) == -1

    # Reading

    def test_rows_are_of_the_scopes_asked_for_only(self, store: Store, part: PartitionStore) -> None:
        scopes = [str(Scope("acme", name)) for name in ("run-1", "run-10", "run-1/x", "run", "%", "run_1", "run-1'")]
        scopes += [str(Scope("acme2", "run-1")), str(Scope("acm", "run-1"))]
        put(part, *(memory(n, scope=scope) for n, scope in enumerate(scopes)))
        reader = store.reader(GEN)
        for n, scope in enumerate(scopes):
            assert [row.offset for row in reader.rows({scope}, partitions={PARTITION}).rows] == [n]
        assert [row.offset for row in reader.rows(scopes[:3], partitions={PARTITION}).rows] == [0, 1, 2]

    def test_rows_come_in_order_with_their_vectors(self, reopen: Reopen) -> None:
        store = reopen()
        put(owner(store, 7), memory(5, span="task/1"), memory(5, span="task/0"), memory(2))
        put(owner(store, 3), memory(9))
        found = store.reader(GEN).rows({ALICE}, partitions={3, 7})
        assert [(row.offset, row.span) for row in found.rows] == [(9, "content"), (2, "content"), (5, "task/0"), (5, "task/1")]
        assert found.matrix.dtype == np.float32
        assert found.matrix.shape == (4, DIMENSIONS)
        assert np.array_equal(found.matrix[0], unit(9))
        assert np.array_equal(found.matrix[1], unit(2))

    def test_rows_of_partitions_that_are_not_asked_for_stay_away(self, store: Store) -> None:
        put(owner(store, 7), memory(1))
        assert not store.reader(GEN).rows({ALICE}, partitions={3}).rows
        assert not store.reader(GEN).rows(set(), partitions={7}).rows
        assert not store.reader(GEN).rows({ALICE}, partitions=set()).rows

    def test_tombstones_are_not_recalled_but_expired_and_superseded_rows_are(self, store: Store, part: PartitionStore) -> None:
        put(part, memory(1, expires_at=NOON), memory(2, superseded_at=NOON), tombstone(3))
        assert [row.offset for row in store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows] == [1, 2]

    def test_a_reader_sees_every_commit(self, reopen: Reopen) -> None:
        part, reader = owner(reopen()), reopen().reader(GEN)
        assert not reader.rows({ALICE}, partitions={PARTITION}).rows
        for n in range(3):
            put(part, memory(n), ledger=[entry(n)])
            assert len(reader.rows({ALICE}, partitions={PARTITION}).rows) == n + 1
            assert reader.last_offset(PARTITION) == n
            assert reader.has_event(PARTITION, f"event-{n}")

    def test_scopes_are_those_of_the_tenant_that_have_text(self, store: Store) -> None:
        other = str(Scope("acme2", "alice"))
        put(owner(store, 7), memory(1), memory(2, scope=other), tombstone(3, scope=BOB))
        put(owner(store, 3), memory(1, scope=QUOTED))
        reader = store.reader(GEN)
        assert reader.scopes("acme") == {ALICE: 7, QUOTED: 3}
        assert reader.scopes("acme2") == {other: 7}
        assert reader.scopes("acm") == {}

    def test_an_event_has_all_its_rows(self, store: Store, part: PartitionStore) -> None:
        put(part, memory(1, span="task/1"), tombstone(1, span="task/0"), memory(2))
        assert [row.span for row in store.reader(GEN).by_event("event-1")] == ["task/0", "task/1"]
        assert store.reader(GEN).by_event("x' or '1'='1") == []

    def test_an_unknown_id_is_none(self, store: Store, part: PartitionStore) -> None:
        put(part, memory(1))
        reader = store.reader(GEN)
        assert reader.get("7-unknown") is None
        assert reader.get("' or '1'='1") is None
        assert reader.get("") is None
        assert reader.get("99-unknown") is None

    def test_a_generation_that_nobody_wrote_is_empty(self, store: Store) -> None:
        reader = store.reader("g9")
        assert reader.generation == "g9"
        assert not reader.rows({ALICE}, partitions={0, 1}).rows
        assert reader.scopes("acme") == {}
        assert reader.get("0-abc") is None
        assert reader.last_offset(0) == -1
        assert not reader.has_event(0, "event-1")
        assert list(reader.ledger(0, start=0, limit=10)) == []
        assert reader.outcomes(0) == {}

    def test_generations_do_not_mix(self, store: Store) -> None:
        put(owner(store), memory(1), ledger=[entry(1)])
        put(owner(store, generation="g2"), memory(2), ledger=[entry(2)])
        assert [row.offset for row in store.reader("g2").rows({ALICE}, partitions={PARTITION}).rows] == [2]
        assert store.reader(GEN).last_offset(PARTITION) == 1

    def test_a_dropped_generation_is_gone_and_dropping_twice_is_harmless(self, store: Store) -> None:
        put(owner(store, generation="g1"), memory(1), ledger=[entry(1)])
        put(owner(store, generation="g10"), memory(2), ledger=[entry(2)])
        store.drop("g1")
        store.drop("g1")
        assert store.reader("g1").last_offset(PARTITION) == -1
        assert not store.reader("g1").rows({ALICE}, partitions={PARTITION}).rows
        assert store.reader("g10").last_offset(PARTITION) == 2

    def test_the_generations_that_have_tables_are_listed(self, store: Store) -> None:
        assert store.generations() == set()
        put(owner(store, generation="g1"), memory(1), ledger=[entry(1)])
        put(owner(store, generation="g10"), memory(2), ledger=[entry(2)])
        assert store.generations() == {"g1", "g10"}
        store.drop("g1")
        assert store.generations() == {"g10"}

    # The view

    def test_a_view_has_the_scopes_and_events_that_were_asked_for(self, part: PartitionStore) -> None:
        put(part, memory(1), memory(2, scope=BOB), memory(3, scope=QUOTED), tombstone(4), ledger=[entry(n) for n in range(5)])
        view = part.view(scopes={ALICE, QUOTED}, ce_ids={"event-2", "event-9"})
        assert [row.offset for row in view.rows(ALICE)] == [1, 4]
        assert [row.offset for row in view.rows(QUOTED)] == [3]
        assert list(view.ledger("event-2")) == [entry(2)]
        assert list(view.ledger("event-9")) == []

    def test_a_view_shows_what_is_decided_from(self, part: PartitionStore) -> None:
        row = memory(1, key="k", expires_at=NOON, superseded_at=NOON)
        put(part, row)
        (seen,) = part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)
        for name in ("id", "event_id", "span", "offset", "outcome", "duplicate_of", "kind", "key", "text", "source_hash"):
            assert getattr(seen, name) == getattr(row, name)
        for name in ("created_at", "expires_at", "superseded_at", "crew", "task_key", "scope", "embedder"):
            assert getattr(seen, name) == getattr(row, name)
        assert seen.vector is not None
        assert np.array_equal(seen.vector, unit(1))
        assert seen.content is None

    def test_a_view_does_not_move_when_more_is_written(self, part: PartitionStore) -> None:
        put(part, memory(1))
        view = part.view(scopes={ALICE}, ce_ids=())
        put(part, memory(2), updates=[Forget((memory(1).id,))])
        assert [(row.offset, row.text) for row in view.rows(ALICE)] == [(1, "text 1")]
        fresh = part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)
        assert [(row.offset, row.text) for row in fresh] == [(1, None), (2, "text 2")]

    def test_a_view_sees_what_another_writer_did(self, reopen: Reopen) -> None:
        mine, others = owner(reopen()), owner(reopen())
        put(mine, memory(1), ledger=[entry(1)])
        assert len(mine.view(scopes={ALICE}, ce_ids=()).rows(ALICE)) == 1
        put(others, memory(2), updates=[SupersedeKey(ALICE, "none", 3, NOON), Forget((memory(1).id,))], ledger=[entry(2)])
        view = mine.view(scopes={ALICE, BOB}, ce_ids={"event-2"})
        assert [(row.offset, row.text) for row in view.rows(ALICE)] == [(1, None), (2, "text 2")]
        assert [row.offset for row in view.ledger("event-2")] == [2]
        last = mine.last()
        assert last is not None
        assert last.offset == 2

    def test_views_after_views_show_every_update(self, part: PartitionStore) -> None:
        """A store that keeps rows from one view to the next must carry every effect forward."""
        rows = [memory(0, kind="failure"), memory(1, key="k"), memory(2, expires_at=NOON), memory(3), memory(4)]
        put(part, *rows)
        part.view(scopes={ALICE, BOB}, ce_ids=())
        updates = [
            SupersedeFailures(ALICE, "t1", 5, NOON), SupersedeKey(ALICE, "k", 5, NOON),
            Extend(rows[2].id, 5, NOON + timedelta(1)), Forget((rows[3].id, rows[3].id)),
        ]  # fmt: skip
        put(part, memory(5, scope=BOB), memory(6), memory(6, text="never"), updates=updates)
        seen = {row.offset: row for row in part.view(scopes={ALICE, BOB}, ce_ids=()).rows(ALICE)}
        assert seen[0].superseded_at == NOON
        assert seen[1].superseded_at == NOON
        assert seen[2].expires_at == NOON + timedelta(1)
        assert seen[3].text is None
        assert seen[3].vector is None
        assert (seen[4].text, seen[4].superseded_at) == ("text 4", None)
        assert seen[6].text == "text 6"
        assert [row.offset for row in part.view(scopes={BOB}, ce_ids=()).rows(BOB)] == [5]
        put(part, marker(7), updates=[Erase(ALICE, 7)])
        assert all(row.text is None for row in part.view(scopes={ALICE}, ce_ids=()).rows(ALICE))

    # Updates

    def test_a_key_supersedes_older_current_rows_of_its_scope_once(self, store: Store, part: PartitionStore) -> None:
        rows = [
            memory(1, key="k"), memory(2, key="other"), memory(3, key="k", scope=BOB), memory(4, key="k", superseded_at=NOON),
            memory(9, key="k"), memory(5), tombstone(6, key="k"), memory(7, key="k", scope=QUOTED),
        ]  # fmt: skip
        later = NOON + timedelta(hours=1)
        put(part, *rows, updates=[SupersedeKey(ALICE, "k", 9, later), SupersedeKey(QUOTED, "k'", 9, later)])
        found = {row.offset: store.reader(GEN).get(row.id) for row in rows}
        assert {offset: row.superseded_at for offset, row in found.items() if row} == {
            1: later, 2: None, 3: None, 4: NOON, 9: None, 5: None, 6: None, 7: None,
        }  # fmt: skip
        put(part, updates=[SupersedeKey(QUOTED, "k", 9, later)])
        seventh = store.reader(GEN).get(rows[7].id)
        assert seventh is not None
        assert seventh.superseded_at == later

    def test_a_completed_task_supersedes_its_older_failures(self, store: Store, part: PartitionStore) -> None:
        rows = [
            memory(1, kind="failure"), memory(2), memory(3, kind="failure", task_key="t2"),
            memory(4, kind="failure", task_key=None), memory(5, kind="failure", scope=BOB),
            memory(9, kind="failure"), memory(6, kind="failure", crew=None),
        ]  # fmt: skip
        put(part, *rows, updates=[SupersedeFailures(ALICE, "t1", 9, NOON)])
        gone = [row.offset for row in rows if (found := store.reader(GEN).get(row.id)) and found.superseded_at]
        assert gone == [1, 6], "the name of the crew is no part of a task"

    def test_a_duplicate_extends_the_survivor_and_never_shortens_it(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(n, expires_at=NOON) for n in range(4)] + [memory(4), memory(9, expires_at=NOON)]
        later = NOON + timedelta(days=1)
        updates = [
            Extend(rows[0].id, 9, later), Extend(rows[1].id, 9, NOON - timedelta(1)), Extend(rows[2].id, 9, None),
            Extend(rows[4].id, 9, later), Extend(rows[5].id, 9, later), Extend("7-none", 9, later),
        ]  # fmt: skip
        put(part, *rows, updates=updates)
        found = [store.reader(GEN).get(row.id) for row in rows]
        assert [row.expires_at for row in found if row] == [later, NOON, None, NOON, None, NOON]

    def test_a_forgotten_row_keeps_its_id_and_nothing_that_it_said(self, store: Store, part: PartitionStore) -> None:
        row, other = memory(1, key="k", summary="s", expires_at=NOON), memory(2)
        put(part, row, other, updates=[Forget((row.id, "7-not-there"))])
        found = store.reader(GEN).get(row.id)
        assert found is not None
        assert (found.text, found.content, found.summary, found.source_hash, found.key) == (None,) * 5
        assert found.vector is None
        assert found.metadata == {}
        assert (found.outcome, found.scope, found.offset) == (Outcome.STORED, ALICE, 1)
        assert [row.offset for row in store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows] == [2]

    def test_what_was_forgotten_does_not_come_back_with_a_late_insert(self, store: Store, part: PartitionStore) -> None:
        row = memory(1)
        put(part, tombstone(5, outcome=Outcome.FORGOTTEN, id=row.id, event_id=row.event_id), updates=[Forget((row.id,))])
        put(part, row)
        found = store.reader(GEN).get(row.id)
        assert found is not None
        assert (found.text, found.outcome) == (None, Outcome.FORGOTTEN)

    def test_updates_happen_in_order(self, store: Store, part: PartitionStore) -> None:
        row = memory(1, key="k", expires_at=NOON)
        later = NOON + timedelta(1)
        put(part, row, updates=[SupersedeKey(ALICE, "k", 2, NOON), Forget((row.id,)), Extend(row.id, 3, later)])
        found = store.reader(GEN).get(row.id)
        assert found is not None
        assert (found.superseded_at, found.expires_at, found.text) == (NOON, NOON, None)

    # Erasing a session

    @pytest.mark.parametrize("erase", [Erase(ALICE, 5), EraseKey(Scope.parse(ALICE).key, 5)])
    def test_an_erased_session_keeps_ids_and_names_nothing(self, store: Store, part: PartitionStore, erase: Update) -> None:
        rows = [memory(1), tombstone(2), memory(3, scope=BOB), memory(9)]
        key = Scope.parse(ALICE).key
        part.view(scopes={ALICE}, ce_ids=())
        put(part, *rows, marker(5), updates=[erase])
        for row in rows[:2]:
            found = store.reader(GEN).get(row.id)
            assert found is not None
            assert found.scope == key
            assert (found.text, found.content, found.crew, found.agent_role, found.task_key, found.parent) == (None,) * 6
            assert (found.outcome, found.kind) == (row.outcome, "note")
        reader = store.reader(GEN)
        assert [row.offset for row in reader.rows({ALICE, BOB}, partitions={PARTITION}).rows] == [3, 9]
        assert [row.offset for row in part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)] == [1, 2, 5, 9]

    def test_a_row_that_comes_late_below_an_erasure_is_never_recalled(self, reopen: Reopen) -> None:
        store = reopen()
        part, zombie = owner(store), owner(reopen())
        zombie.view(scopes={ALICE}, ce_ids=())
        put(part, marker(5), updates=[Erase(ALICE, 5)])
        put(zombie, memory(1), memory(6), memory(2, scope=BOB))
        reader = store.reader(GEN)
        assert [row.offset for row in reader.rows({ALICE, BOB}, partitions={PARTITION}).rows] == [2, 6]
        assert [row.offset for row in part.view(scopes={ALICE}, ce_ids=()).rows(ALICE) if row.text is not None] == [6]
        gone = reader.get(memory(1).id)
        assert gone is not None
        assert (gone.text, gone.scope) == (None, Scope.parse(ALICE).key)
        assert [row.text for row in reader.by_event("event-1")] == [None]
        assert [row.offset for row in part.unsummarised(summariser="llm", limit=10)] == [2, 6]

    def test_a_row_that_was_erased_and_is_inserted_again_stays_erased(self, store: Store, part: PartitionStore) -> None:
        put(part, memory(1), marker(5), updates=[Erase(ALICE, 5)])
        part.view(scopes={ALICE}, ce_ids=())
        put(part, memory(1), memory(6))
        assert [(row.offset, row.text) for row in part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)] == [
            (1, None), (5, None), (6, "text 6"),
        ]  # fmt: skip
        assert len(store.reader(GEN).by_event("event-1")) == 1

    def test_a_session_with_nothing_left_is_not_listed(self, store: Store, part: PartitionStore) -> None:
        put(part, marker(5), updates=[Erase(ALICE, 5)])
        put(part, memory(1))
        assert store.reader(GEN).scopes("acme") == {}

    def test_an_erasure_is_done_again_when_the_partition_is_opened(self, reopen: Reopen) -> None:
        part = owner(reopen())
        put(part, marker(5), updates=[Erase(ALICE, 5)])
        put(part, memory(1), memory(2, scope=BOB))
        part.close()
        again = owner(reopen())
        again.maintain()
        found = again.view(scopes={ALICE, BOB}, ce_ids=())
        assert [(row.offset, row.text, row.crew) for row in found.rows(ALICE)] == [(1, None, None), (5, None, None)]
        assert [row.text for row in found.rows(BOB)] == ["text 2"]

    def test_a_session_named_like_anothers_record_key_neither_reads_nor_hides_it(self, store: Store) -> None:
        part = owner(store)
        twin = Scope.parse(ALICE).key
        put(part, memory(1), memory(2, scope=twin, text="of the twin"), memory(3, scope=twin, kind="erasure"))
        assert [row.offset for row in part.view(scopes={ALICE}, ce_ids=()).rows(ALICE)] == [1]
        assert [row.offset for row in store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows] == [1]
        put(part, marker(5), updates=[Erase(ALICE, 5)])
        put(part, marker(6, twin), updates=[Erase(twin, 6)])
        put(part, memory(0))
        assert not store.reader(GEN).rows({ALICE, twin}, partitions={PARTITION}).rows

    # The ledger

    def test_a_ledger_row_comes_back_as_it_was_written(self, store: Store, part: PartitionStore) -> None:
        full = entry(3)
        bare = LedgerRow(
            offset=4, ce_id=None, type=None, scope_key=None, crc=0, created_at=None, outcome=Outcome.DEAD_LETTER
        )  # fmt: skip
        put(part, ledger=[full, bare])
        assert list(store.reader(GEN).ledger(PARTITION, start=0, limit=10)) == [full, bare]
        assert part.last() == bare

    def test_a_ledger_row_that_is_there_stays(self, store: Store, part: PartitionStore) -> None:
        put(part, ledger=[entry(0), entry(0, outcome=Outcome.DROPPED)])
        put(part, ledger=[entry(0, outcome=Outcome.DROPPED), entry(1, outcome=Outcome.DUPLICATE)])
        assert store.reader(GEN).outcomes(PARTITION) == {"stored": 1, "duplicate": 1}

    def test_the_ledger_is_read_from_a_position_on_and_in_order(self, store: Store, part: PartitionStore) -> None:
        put(part, ledger=[entry(n) for n in (4, 2, 0, 3, 1)])
        reader = store.reader(GEN)
        assert [row.offset for row in reader.ledger(PARTITION, start=1, limit=3)] == [1, 2, 3]
        assert list(reader.ledger(PARTITION, start=5, limit=3)) == []
        assert reader.last_offset(PARTITION) == 4
        assert not reader.has_event(PARTITION, "event-44")

    def test_an_event_id_is_found_wherever_it_lies_on_the_log(self, store: Store) -> None:
        put(owner(store, 7), ledger=[entry(1), entry(4, ce_id="event-1", outcome=Outcome.DUPLICATE)])
        put(owner(store, 3), ledger=[entry(1), entry(2, ce_id=None)])
        found = [(place, row.offset, row.outcome) for place, row in store.reader(GEN).ledger_of("event-1")]
        assert found == [(3, 1, "stored"), (7, 1, "stored"), (7, 4, "duplicate")]
        assert list(store.reader(GEN).ledger_of("event-9")) == []

    def test_the_ledger_outlives_the_store_object(self, reopen: Reopen) -> None:
        part = owner(reopen())
        put(part, memory(1), ledger=[entry(0), entry(1)])
        part.close()
        part.close()
        assert owner(reopen()).last() == entry(1)

    def test_the_newest_applied_rules_are_found(self, store: Store, part: PartitionStore) -> None:
        assert part.rules() is None
        assert store.reader(GEN).rules(PARTITION) is None
        kind = {"type": "crewmem.rules.applied", "scope_key": None}
        first = entry(0, outcome=Outcome.APPLIED, detail="rules: []", **kind)
        second = entry(2, outcome=Outcome.APPLIED, detail="rules: [x]", **kind)
        put(part, ledger=[first, entry(1), second, entry(3, outcome=Outcome.DEAD_LETTER, **kind), entry(4)])
        assert part.rules() == second
        assert store.reader(GEN).rules(PARTITION) == second

    def test_the_rows_of_dead_letters_and_of_what_was_said_of_them_are_found(self, store: Store, part: PartitionStore) -> None:
        said = {"outcome": Outcome.APPLIED, "scope_key": None}
        rows = [
            entry(0), entry(1, outcome=Outcome.DEAD_LETTER, type=None, ce_id=None), entry(2, outcome=Outcome.DEAD_LETTER),
            entry(3, type="crewmem.rules.applied", **said), entry(4, type="crewmem.event.redriven", **said),
            entry(5, type="crewmem.event.discarded", **said), entry(6, outcome=Outcome.DUPLICATE),
        ]  # fmt: skip
        assert list(store.reader(GEN).letters(PARTITION)) == []
        put(part, ledger=rows)
        assert list(store.reader(GEN).letters(PARTITION)) == [rows[1], rows[2], rows[4], rows[5]]

    def test_what_forgot_something_of_a_session_is_found(self, store: Store, part: PartitionStore) -> None:
        named = entry(1, outcome=Outcome.APPLIED, type="crewmem.memory.forgotten")
        whole = entry(3, outcome=Outcome.APPLIED, type="crewmem.session.forgotten")
        other = entry(2, outcome=Outcome.APPLIED, type="crewmem.memory.forgotten", scope_key=Scope.parse(BOB).key)
        put(part, ledger=[entry(0), whole, other, named])
        assert list(store.reader(GEN).forgets(PARTITION, Scope.parse(ALICE).key)) == [named, whole]
        assert list(store.reader(GEN).forgets(PARTITION, "acme/none")) == []

    def test_a_tally_counts_the_ledgers_rows(self, store: Store, part: PartitionStore) -> None:
        assert (len(store.reader(GEN).tally(PARTITION).offsets), store.reader(GEN).tally(PARTITION).outcomes) == (0, {})
        put(part, ledger=[entry(n) for n in (4, 2, 300_000)] + [entry(3, outcome=Outcome.DROPPED)])
        tally = store.reader(GEN).tally(PARTITION)
        assert (tally.offsets.tolist(), tally.offsets.dtype) == ([2, 3, 4, 300_000], np.int64)
        assert tally.outcomes == {"stored": 3, "dropped": 1}

    # Scans

    def test_a_scan_gives_every_row_in_order_and_no_vectors(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(5), tombstone(3, duplicate_of="7-abc"), memory(4, span="raw"), memory(4, span="content", scope=QUOTED)]
        put(part, *rows, updates=[Forget((memory(5).id,))])
        found = [row for batch in store.reader(GEN).scan(PARTITION) for row in batch]
        assert [(row.offset, row.span, row.text) for row in found] == [
            (3, "content", None), (4, "content", "text 4"), (4, "raw", "text 4"), (5, "content", None),
        ]  # fmt: skip
        assert same(found[1], replace(rows[3], vector=None))
        assert {row.vector is None for row in found} == {True}

    def test_what_was_made_of_some_positions_comes_with_the_crc_of_their_records(
        self, store: Store, part: PartitionStore
    ) -> None:
        rows = [memory(offset, made_by="m") for offset in range(2, 6)]
        put(part, *rows, tombstone(3, span="gone"), ledger=[entry(2), entry(3)])
        found = {one.offset: one for one in store.reader(GEN).made(PARTITION, start=3, end=5)}
        assert {offset: one.crc for offset, one in found.items()} == {3: entry(3).crc, 4: None}
        one, row = found[4], rows[2]
        assert row.vector is not None and one.vector is not None and bool(np.array_equal(one.vector, row.vector))
        names = ("id", "text", "content", "summary", "source_hash", "embedder", "summariser", "made_by")
        assert [getattr(one, name) for name in names] == [getattr(row, name) for name in names]
        assert not store.reader("g9").made(PARTITION, start=0, end=9)

    def test_a_scan_shows_one_version(self, store: Store, part: PartitionStore) -> None:
        many = [memory(n) for n in range(SCAN_ROWS + 1)]
        put(part, *many)
        batches = store.reader(GEN).scan(PARTITION)
        first = next(batches)
        assert len(first) == SCAN_ROWS
        put(part, memory(9_999), updates=[Forget((many[-1].id,)), SupersedeKey(ALICE, "k", 9_999, NOON)])
        assert [(row.offset, row.text) for batch in batches for row in batch] == [(SCAN_ROWS, f"text {SCAN_ROWS}")]

    def test_a_scan_shows_a_late_row_below_an_erasure_as_the_tombstone_that_it_counts_as(self, reopen: Reopen) -> None:
        part, zombie = owner(reopen()), owner(reopen())
        put(part, marker(5), updates=[Erase(ALICE, 5)])
        put(zombie, memory(1), memory(6))
        found = [row for batch in reopen().reader(GEN).scan(PARTITION) for row in batch]
        assert [(row.offset, row.text) for row in found] == [(1, None), (5, None), (6, "text 6")]
        assert found[0].scope == Scope.parse(ALICE).key

    def test_a_partition_that_nobody_wrote_scans_as_empty(self, store: Store) -> None:
        assert list(store.reader(GEN).scan(PARTITION)) == []

    # Summaries

    def test_summaries_are_added_to_rows_that_still_have_text(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(1), memory(2), memory(3, summariser="llm"), tombstone(4)]
        put(part, *rows, updates=[Forget((rows[1].id,))])
        assert [row.offset for row in part.unsummarised(summariser="llm", limit=10)] == [1]
        assert part.summary_backlog(summariser="llm") == 1
        part.set_summaries([Summary(row.id, "it's short", "llm") for row in rows] + [Summary("7-none", "x", "llm")])
        found = [store.reader(GEN).get(row.id) for row in rows]
        assert [row.summary for row in found if row] == ["it's short", None, "it's short", None]
        assert list(part.unsummarised(summariser="llm", limit=10)) == []

    def test_the_backlog_of_summaries_is_oldest_first_and_has_the_content(self, part: PartitionStore) -> None:
        put(part, *(memory(n) for n in (5, 3, 8, 1)))
        backlog = part.unsummarised(summariser="llm", limit=3)
        assert [row.offset for row in backlog] == [1, 3, 5]
        assert part.summary_backlog(summariser="llm") == 4
        assert backlog[0].content == "full content 1"

    # Maintenance

    def test_maintenance_changes_nothing_that_is_read(self, store: Store, part: PartitionStore) -> None:
        for n in range(12):
            put(part, memory(n), ledger=[entry(n)])
            part.maintain()
        put(part, updates=[Forget((memory(3).id,))])
        part.maintain()
        found = store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows
        assert [row.offset for row in found] == [n for n in range(12) if n != 3]
        assert [row.offset for row in store.reader(GEN).ledger(PARTITION, start=0, limit=99)] == list(range(12))
