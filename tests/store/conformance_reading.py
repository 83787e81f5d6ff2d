"""The conformance suite of reading: what a recall, a decision and a scan are shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
from crewmem_producers.names import Scope
from crewmem_store.store import SCAN_ROWS, Judged, PartitionStore, Store
from crewmem_store.updates import Erase, Extend, Forget, SupersedeFailures, SupersedeKey
from store.conformance_fixtures import Reopen, StoreFixtures
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


class ReadingConformance(StoreFixtures):
    """See `conformance_store`."""

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
            assert [row.offset for row in reader.events(PARTITION, [f"event-{n}", "event-9"])] == [n]

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
        for id in ("9" * 5_000 + "-x", "1234567-x", "\u0667-x", "-1-x", "-x", "7", ""):
            assert reader.get(id) is None
            assert list(reader.duplicates(id)) == []
        assert reader.get("") is None
        assert reader.get("99-unknown") is None

    def test_a_generation_that_nobody_wrote_is_empty(self, store: Store) -> None:
        reader = store.reader("g9")
        assert not reader.rows({ALICE}, partitions={0, 1}).rows
        assert reader.scopes("acme") == {}
        assert reader.get("0-abc") is None
        assert reader.last_offset(0) == -1
        assert list(reader.events(0, ["event-1"])) == []
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

    def test_what_was_made_of_some_positions_comes_with_what_the_ledger_says_of_their_records(
        self, store: Store, part: PartitionStore
    ) -> None:
        rows = [memory(offset, made_by="m") for offset in range(2, 6)]
        judged = entry(3, rules_sha256="r", spans={"content": {"outcome": "stored", "rule": "all"}})
        put(part, *rows, tombstone(3, span="gone"), ledger=[entry(2), judged])
        found = {one.offset: one for one in store.reader(GEN).made(PARTITION, start=3, end=5)}
        assert {offset: one.judged for offset, one in found.items()} == {
            3: Judged(judged.crc, "r", {"content": {"outcome": "stored", "rule": "all"}}),
            4: None,
        }
        one, row = found[4], rows[2]
        assert row.vector is not None and one.vector is not None and bool(np.array_equal(one.vector, row.vector))
        names = ("id", "span", "text", "content", "summary", "source_hash", "embedder", "summariser", "made_by")
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
