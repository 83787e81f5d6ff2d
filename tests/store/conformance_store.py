"""The conformance suite of the store contract: subclass `StoreConformance` and give it a `reopen` fixture.

Every test sees only the contract. `reopen()` gives a store object at the test's one place, each time anew: what one
wrote, the next one reads.
"""

from __future__ import annotations

import pytest
from crewmem_store.errors import NamespaceMismatch
from crewmem_store.store import PartitionStore, Store, Summary
from crewmem_store.updates import Forget
from store.conformance_fixtures import Reopen
from store.conformance_ledger import LedgerConformance
from store.conformance_reading import ReadingConformance
from store.conformance_rows import RowsConformance
from store.conformance_text import TextConformance
from store.store_rows import ALICE, GEN, PARTITION, entry, memory, put, tombstone

__all__ = ["Reopen", "StoreConformance"]


class StoreConformance(RowsConformance, TextConformance, ReadingConformance, LedgerConformance):
    """Subclass it in a test module; name the class Test..."""

    # The note

    def test_a_store_of_another_namespace_is_refused_with_the_remedy(self, reopen: Reopen) -> None:
        reopen()
        with pytest.raises(NamespaceMismatch, match="CREWMEM_NAMESPACE"):
            reopen().open(namespace="another")

    def test_opening_twice_is_harmless(self, store: Store) -> None:
        store.open(namespace="crewmem")
        store.open(namespace="crewmem")

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
