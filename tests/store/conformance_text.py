"""The conformance suite of text from outside: in a session's name, a key, a task or an id every character is only itself."""

from __future__ import annotations

from datetime import timedelta

from crewmem_producers.names import Scope
from crewmem_store.store import PartitionStore, Store, Summary
from crewmem_store.updates import EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey
from store.conformance_fixtures import StoreFixtures
from store.store_rows import GEN, NOON, PARTITION, entry, marker, memory, put

TEXTS = (
    "'", "''", "'''", "\\'", "\\''", "\\", "\\\\'", "it's", "it''s", "o\\'k' OR '1'='1", '"', "`", "-- /* %_ ? $1 :x {y}",
    "two\nlines\r\n\tand a tab", "\x01\x07\x1b\x1f\x7f\x85", "\u2028", "\N{BRAIN} \u00e9 ", "long" * 2_000,
)  # fmt: skip
"""What an SQL string, a shell or a pattern may take for something else; each differs from every other."""

SESSIONS = (*(text for text in TEXTS if text.isprintable() and len(text) < 200), "n" * 200)
"""Those that a session may be called: its name has no control characters."""


class TextConformance(StoreFixtures):
    """See `conformance_store`."""

    def test_a_key_of_any_text_supersedes_its_own_rows_alone(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(n, key=key) for n, key in enumerate(TEXTS)]
        put(part, *rows)
        for n, key in enumerate(TEXTS):
            put(part, updates=[SupersedeKey(rows[n].scope or "", key, 99, NOON)])
            assert _superseded(store) == list(range(n + 1)), key

    def test_many_keys_of_any_text_are_superseded_in_one_commit(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(n, key=key) for n, key in enumerate(TEXTS)]
        again = [memory(50 + n, key=key) for n, key in enumerate(TEXTS)]
        updates = [SupersedeKey(row.scope or "", row.key or "", row.offset, row.created_at) for row in again]
        put(part, *rows, *again, updates=updates)
        found = [store.reader(GEN).get(row.id) for row in rows]
        assert [row.superseded_at for row in found if row] == [row.created_at for row in again]
        assert _superseded(store) == list(range(len(TEXTS)))

    def test_a_task_of_any_text_supersedes_its_own_failures_alone(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(n, kind="failure", task_key=task) for n, task in enumerate(TEXTS)]
        put(part, *rows)
        for n, task in enumerate(TEXTS):
            put(part, updates=[SupersedeFailures(rows[n].scope or "", task, 99, NOON)])
            assert _superseded(store) == list(range(n + 1)), task

    def test_a_session_of_any_text_is_found_superseded_and_erased_alone(self, store: Store, part: PartitionStore) -> None:
        scopes = [str(Scope.of("acme", name)) for name in SESSIONS]
        put(part, *(memory(n, scope=scope, key="k") for n, scope in enumerate(scopes)))
        reader = store.reader(GEN)
        assert reader.scopes("acme") == dict.fromkeys(scopes, PARTITION)
        for n, scope in enumerate(scopes):
            assert [row.offset for row in reader.rows({scope}, partitions={PARTITION}).rows] == [n]
            assert [row.offset for row in part.view(scopes={scope}, ce_ids=()).rows(scope)] == [n]
            put(part, updates=[SupersedeKey(scope, "k", 99, NOON)])
            assert _superseded(store) == list(range(n + 1)), scope
        for n, scope in enumerate(scopes):
            put(part, marker(100 + n, scope), updates=[EraseKey(Scope.parse(scope).key, 100 + n)])
            assert set(reader.scopes("acme")) == set(scopes[n + 1 :]), scope

    def test_an_event_id_of_any_text_is_found_alone(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(n, event_id=id) for n, id in enumerate(TEXTS)]
        put(part, *rows, ledger=[entry(n, ce_id=id) for n, id in enumerate(TEXTS)])
        reader = store.reader(GEN)
        for n, id in enumerate(TEXTS):
            assert [row.offset for row in reader.by_event(id)] == [n], id
            assert [row.offset for _, row in reader.ledger_of(id)] == [n], id
            assert [row.offset for row in part.view(scopes=(), ce_ids={id}).ledger(id)] == [n], id
            assert list(reader.events(PARTITION, [id + "x"])) == [], id

    def test_a_row_of_any_text_is_extended_and_forgotten_alone(self, store: Store, part: PartitionStore) -> None:
        """Ids are hashes; what names them is not to matter, should they ever be something else."""
        rows = [memory(n, id=f"{PARTITION}-{id}", expires_at=NOON) for n, id in enumerate(TEXTS)]
        put(part, *rows)
        reader = store.reader(GEN)
        for n, row in enumerate(rows):
            put(part, updates=[Extend(row.id, 99, NOON + timedelta(days=1))])
            found = [reader.get(row.id) for row in rows]
            assert [one.expires_at for one in found if one] == [NOON + timedelta(days=m <= n) for m in range(len(rows))], row.id
        for n, row in enumerate(rows):
            put(part, updates=[Forget((row.id,))])
            kept = reader.rows({row.scope or ""}, partitions={PARTITION}).rows
            assert [one.offset for one in kept] == list(range(n + 1, len(rows))), row.id

    def test_a_summary_of_any_text_is_kept_as_it_is(self, store: Store, part: PartitionStore) -> None:
        rows = [memory(n) for n in range(len(TEXTS))]
        put(part, *rows)
        for row, text in zip(rows, TEXTS, strict=True):
            part.set_summaries([Summary(row.id, text, text)])
            assert part.summary_backlog(summariser=text) == len(rows) - 1, text
        found = [store.reader(GEN).get(row.id) for row in rows]
        assert [(row.summary, row.summariser) for row in found if row] == [(text, text) for text in TEXTS]


def _superseded(store: Store) -> list[int]:
    """The offsets of superseded rows, in order."""
    return [row.offset for batch in store.reader(GEN).scan(PARTITION) for row in batch if row.superseded_at is not None]
