"""The conformance suite of rows: what a commit writes, what each update makes of it, and how a session is erased."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from crewmem_producers.names import Scope
from crewmem_store.rows import Outcome
from crewmem_store.store import PartitionStore, Store
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update
from store.conformance_fixtures import Reopen, StoreFixtures
from store.store_rows import ALICE, BOB, GEN, NOON, PARTITION, QUOTED, entry, marker, memory, owner, put, same, tombstone


class RowsConformance(StoreFixtures):
    """See `conformance_store`."""

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

    def test_many_keys_are_superseded_in_one_commit(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(offset, key=f"k{offset % 60}") for offset in range(120)]
        updates = [SupersedeKey(ALICE, row.key or "", row.offset, row.created_at) for row in rows[60:]]
        put(part, *rows, updates=[*updates, SupersedeKey(ALICE, "k0", 61, NOON), SupersedeFailures(BOB, "t1", 9, NOON)])
        found = store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows
        expected = [row.created_at for row in rows[60:]] + [NOON] + [None] * 59
        assert [row.superseded_at for row in found] == expected

    def test_many_rows_are_extended_in_one_commit(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(offset, expires_at=NOON + timedelta(days=offset)) for offset in range(9)]
        day = [NOON + timedelta(days=offset) for offset in range(20)]
        ends = [(0, day[3]), (1, None), (2, day[1]), (3, day[5]), (3, day[4]), (4, day[6]), (4, day[8]), (5, None), (5, day[9])]
        put(part, *rows, updates=[Extend(rows[place].id, 20, end) for place, end in ends])
        put(part, updates=[Extend(rows[8].id, 8, day[19]), Extend(rows[7].id, 8, day[19])])
        found = store.reader(GEN).rows({ALICE}, partitions={PARTITION}).rows
        expected = [day[3], None, day[2], day[5], day[8], None, day[6], day[19], day[8]]
        assert [row.expires_at for row in found] == expected

    def test_times_of_any_year_are_kept_and_compared(self, store: Store, part: PartitionStore) -> None:
        """Also those that nanoseconds in 64 bits cannot hold."""
        years = [datetime(year, 2, 3, 4, 5, 6, 7, tzinfo=UTC) for year in (1, 1600, 1677, 1970, 2026, 2262, 2300, 9999)]
        rows = [memory(n, created_at=time, expires_at=time, key="k") for n, time in enumerate(years)]
        put(part, *rows)
        for end in years:
            put(part, updates=[Extend(row.id, 99, end) for row in rows])
            found = [store.reader(GEN).get(row.id) for row in rows]
            assert [row.expires_at for row in found if row] == [max(time, end) for time in years]
            put(part, updates=[Extend(row.id, 99, end) for row in rows])
        for n, at in enumerate(years):
            put(part, updates=[SupersedeKey(ALICE, "k", n + 1, at)])
        put(part, updates=[Extend(rows[0].id, 99, None)])
        found = [store.reader(GEN).get(row.id) for row in rows]
        assert [row.created_at for row in found if row] == years
        assert [row.superseded_at for row in found if row] == years
        assert [row.expires_at for row in found if row] == [None] + [years[-1]] * 7

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
