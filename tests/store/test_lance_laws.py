"""Laws: LanceDB and the store in memory come to the same, and no value breaks out of a condition."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from crewmem_producers.names import Scope, record_key
from crewmem_store.lance import LanceStore
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import MemoryRow, Outcome
from crewmem_store.store import PartitionStore, Store
from crewmem_store.updates import Erase, EraseKey, Extend, Forget, SupersedeFailures, SupersedeKey, Update
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from store.store_rows import ALICE, BOB, GEN, NOON, PARTITION, entry, marker, memory, owner, put, same, tombstone

OFFSETS = st.integers(0, 9)
SCOPES = st.sampled_from([ALICE, BOB])
KEYS = st.sampled_from([None, "k", "o'k", "o''k", "\\'"])
TIMES = st.sampled_from([None, NOON, NOON + timedelta(days=1)])
TEXT = st.text(min_size=1, max_size=20)
QUOTES = st.text("'\\\"`a", min_size=1, max_size=4)
SESSION = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=20)


@st.composite
def rows(draw: st.DrawFn) -> MemoryRow:
    offset, scope = draw(OFFSETS), draw(SCOPES)
    kind = draw(st.sampled_from(["finding", "failure", "marker", "tombstone"]))
    if kind == "marker":
        return marker(offset, scope)
    if kind == "tombstone":
        return tombstone(offset, scope=scope, outcome=draw(st.sampled_from([Outcome.DUPLICATE, Outcome.FORGOTTEN])))
    return memory(offset, scope=scope, kind=kind, key=draw(KEYS), expires_at=draw(TIMES))


@st.composite
def updates(draw: st.DrawFn) -> Update:
    scope, offset, id = draw(SCOPES), draw(OFFSETS), memory(draw(OFFSETS), scope=draw(SCOPES)).id
    return draw(
        st.sampled_from([
            SupersedeKey(scope, draw(KEYS) or "none", offset, NOON), SupersedeFailures(scope, "t1", offset, NOON),
            Extend(id, offset, draw(TIMES)), Forget((id, "7-none")), Erase(scope, offset),
        ])
    )  # fmt: skip


STEP = st.tuples(
    st.lists(rows(), max_size=5), st.lists(updates(), max_size=4), st.lists(OFFSETS, max_size=3), st.integers(0, 1),
    st.booleans(),
)  # fmt: skip


@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(STEP, max_size=6))
def test_two_owners_in_lancedb_leave_what_they_leave_in_memory(
    steps: list[tuple[list[MemoryRow], list[Update], list[int], int, bool]],
) -> None:
    """Commits of two owners in any order, views in between (so that what an owner remembers is put to use)."""
    with tempfile.TemporaryDirectory() as folder:
        stores: list[Store] = [LanceStore(str(Path(folder) / "store")), MemoryStore()]
        for store in stores:
            store.open(namespace="crewmem")
        owners = [[owner(store), owner(store)] for store in stores]
        for batch, effects, offsets, who, maintained in steps:
            for parts in owners:
                put(parts[who], *batch, updates=effects, ledger=[entry(offset) for offset in offsets])
                if maintained:
                    parts[who].maintain()
            seen, expected = _views(owners[0][who]), _views(owners[1][who])
            assert [(left, right) for left, right in zip(seen, expected, strict=True) if left != right] == []
        ids = {row.id for batch, *_ in steps for row in batch}
        readers = [store.reader(GEN) for store in stores]
        for id in ids:
            seen_row, expected_row = readers[0].get(id), readers[1].get(id)
            assert expected_row is not None
            assert seen_row is not None
            assert same(_timeless(seen_row), _timeless(expected_row))
        for scopes in ({ALICE}, {BOB}, {ALICE, BOB}):
            found = [reader.rows(scopes, partitions={PARTITION}) for reader in readers]
            assert [row.id for row in found[0].rows] == [row.id for row in found[1].rows]
            assert found[0].matrix.tobytes() == found[1].matrix.tobytes()
        assert readers[0].scopes("acme") == readers[1].scopes("acme")
        assert readers[0].outcomes(PARTITION) == readers[1].outcomes(PARTITION)
        assert readers[0].last_offset(PARTITION) == readers[1].last_offset(PARTITION)
        assert readers[0].ledger(PARTITION, start=0, limit=99) == readers[1].ledger(PARTITION, start=0, limit=99)


SESSIONS = st.lists(QUOTES | SESSION, min_size=2, max_size=2, unique=True)
WORDS = st.lists(QUOTES | TEXT, min_size=2, max_size=4, unique=True)
PLACES = st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(QUOTES | SESSION, min_size=2, max_size=2, unique=True), WORDS, WORDS, st.lists(PLACES, max_size=12), st.booleans()
)
def test_text_from_outside_means_the_same_in_lancedb_and_in_memory(
    sessions: list[str], keys: list[str], tasks: list[str], places: list[tuple[int, int, int]], together: bool
) -> None:
    """Sessions, keys and tasks of any characters, superseded one after the other or together, by two owners, then erased."""
    scopes = [str(Scope("acme", session)) for session in sessions]
    rows, effects = list[MemoryRow](), list[Update]()
    for offset, (session, key, task) in enumerate(places):
        scope, key_text, task_text = scopes[session], keys[key % len(keys)], tasks[task % len(tasks)]
        kind = "failure" if offset % 3 == 0 else "finding"
        rows.append(memory(offset, scope=scope, kind=kind, key=key_text, task_key=task_text))
        at = NOON + timedelta(seconds=offset)
        effects += [SupersedeKey(scope, key_text, offset, at), SupersedeFailures(scope, task_text, offset, at)]
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for store in (LanceStore(str(Path(folder) / "store")), MemoryStore()):
            store.open(namespace="crewmem")
            parts = [owner(store), owner(store)]
            put(parts[0], *rows, updates=effects if together else ())
            for place, effect in enumerate(() if together else effects):
                put(parts[place % 2], updates=[effect])
            reader = store.reader(GEN)
            told = [reader.get(row.id) for row in rows]
            alone = [[row.offset for row in reader.rows({scope}, partitions={PARTITION}).rows] for scope in scopes]
            put(parts[1], marker(50, scopes[0]), updates=[EraseKey(record_key(scopes[0]), 50)])
            found.append(([row and row.superseded_at for row in told], alone, reader.scopes("acme")))
        assert found[0] == found[1]


def _timeless(row: MemoryRow) -> MemoryRow:
    """A tombstone's times mean nothing: an update may come before or after an erasure that is done again. Nor does it matter
    here when an owner got to cleaning the files, which it notes as a marker's summary."""
    return replace(row, expires_at=None, superseded_at=None, summary=None) if row.text is None else row


def _views(part: PartitionStore) -> list[tuple[object, ...]]:
    view = part.view(scopes={ALICE, BOB}, ce_ids={f"event-{n}" for n in range(10)})
    found: list[tuple[object, ...]] = [
        (row.id, row.scope, row.text, row.key, row.expires_at, row.superseded_at, row.outcome, row.kind, row.vector is None)
        for scope in (ALICE, BOB)
        for row in map(_timeless, view.rows(scope))
    ]
    return found + [tuple(view.ledger(f"event-{n}")) for n in range(10)]


@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(SESSION, TEXT, TEXT, TEXT), min_size=2, max_size=4, unique=True))
def test_no_value_breaks_out_of_a_condition(values: list[tuple[str, str, str, str]]) -> None:
    """Sessions, keys, tasks, ids and event ids of any characters touch and find their own rows only."""
    with tempfile.TemporaryDirectory() as folder:
        store = LanceStore(str(Path(folder) / "store"))
        store.open(namespace="crewmem")
        part = owner(store)
        stored = [
            memory(
                n, scope=str(Scope("acme", session)), id=f"7-{n}{id}", event_id=id, key=key, task_key=task,
                kind="failure",
            )
            for n, (session, key, task, id) in enumerate(values)
        ]  # fmt: skip
        put(part, *stored)
        first, *others = stored
        assert first.scope is not None
        assert first.key is not None
        assert first.task_key is not None
        reader = store.reader(GEN)
        assert {row.id for row in reader.by_event(first.event_id)} == {r.id for r in stored if r.event_id == first.event_id}
        found = {row.id for row in reader.rows({first.scope}, partitions={PARTITION}).rows}
        assert found == {row.id for row in stored if row.scope == first.scope}
        put(part, updates=[SupersedeKey(first.scope, first.key, 99, NOON)])
        superseded = {row.id for row in stored if row.scope == first.scope and row.key == first.key}
        assert {row.id for row in stored if (now := reader.get(row.id)) and now.superseded_at} == superseded
        put(part, updates=[SupersedeFailures(first.scope, first.task_key, 99, NOON)])
        superseded |= {row.id for row in stored if row.scope == first.scope and row.task_key == first.task_key}
        assert {row.id for row in stored if (now := reader.get(row.id)) and now.superseded_at} == superseded
        put(part, updates=[Forget((first.id,))])
        assert {row.id for row in others if (now := reader.get(row.id)) and now.text is None} == set()
