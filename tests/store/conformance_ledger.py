"""The conformance suite of the ledger: one outcome for every position, and what is found by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from crewmem_producers.names import Scope
from crewmem_store.rows import LedgerRow, Outcome
from crewmem_store.store import PartitionStore, Store
from store.conformance_fixtures import Reopen, StoreFixtures
from store.store_rows import ALICE, BOB, GEN, PARTITION, entry, memory, owner, put


class LedgerConformance(StoreFixtures):
    """See `conformance_store`."""

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
        assert list(reader.events(PARTITION, ["event-44"])) == []

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

    def test_outcomes_are_counted_for_one_tenant(self, store: Store, part: PartitionStore) -> None:
        of = ["acme/1", "acme/2", "acme-2/1", "acme0/1", "acm/1", None]
        rows = [replace(entry(offset), scope_key=key) for offset, key in enumerate(of)]
        put(part, ledger=[*rows, replace(entry(300_000, outcome=Outcome.DROPPED), scope_key="acme/1")])
        assert store.reader(GEN).outcomes_of(PARTITION, "acme") == {"stored": 2, "dropped": 1}
        assert store.reader(GEN).outcomes_of(PARTITION, "acme-2") == {"stored": 1}
        assert store.reader(GEN).outcomes_of(PARTITION, "nobody") == {}

    def test_a_tally_counts_the_ledgers_rows(self, store: Store, part: PartitionStore) -> None:
        assert (len(store.reader(GEN).tally(PARTITION).offsets), store.reader(GEN).tally(PARTITION).outcomes) == (0, {})
        put(part, ledger=[entry(n) for n in (4, 2, 300_000)] + [entry(3, outcome=Outcome.DROPPED)])
        tally = store.reader(GEN).tally(PARTITION)
        assert (tally.offsets.tolist(), tally.offsets.dtype) == ([2, 3, 4, 300_000], np.int64)
        assert tally.outcomes == {"stored": 3, "dropped": 1}
