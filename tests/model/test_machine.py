"""Whatever is published, forgotten, repeated and crashed, in whatever order: plain dictionaries say what can be recalled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.steps import STEPS
from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.names import Scope
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.lance import LanceStore
from crewmem_store.memory import MemoryPartition, MemoryStore
from crewmem_store.rows import Outcome
from crewmem_store.store import Store
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from model.reference import Reference
from support.keyrings import plain_keyring
from support.pipeline import Letters, apply_rules, erase, forget, kickoff, remember

SESSIONS = ("alice", "bob")
DROP_ALL = "version: 1\nrules:\n  - {name: nothing, action: drop}\n"
KEEP_ALL = "version: 1\nrules:\n  - {name: everything, action: keep, with: {kind: finding}}\n"
EMBEDDER = HashingEmbedder()

sessions = st.sampled_from(SESSIONS)
owners = st.integers(0, 1)
counts = st.integers(1, 4)
step_names = st.sampled_from(STEPS)
"""Steps of the ingestor and of the store's commit."""


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Making a failure smaller takes minutes here: add `Phase.shrink` when there is one."""


class Crash(BaseException):
    """A process that stops: nothing in it may be caught on the way."""


class Machine(RuleBasedStateMachine):
    """A log, two owners of its only partition, and for each generation what the log means."""

    def make_store(self, checkpoint: Callable[[str], None]) -> Store:
        return MemoryStore(checkpoint=checkpoint)

    @initialize()
    def begin(self) -> None:
        self.log: list[LoggedRecord] = []
        self.events: list[tuple[str, Event]] = []
        """Of each memory: its session and event."""
        self.meant: list[Callable[[Reference], None]] = []
        """What each record of the log means."""
        self.rules: str | None = None
        self.replays = 0
        self.at: tuple[str, Callable[[], None]] | None = None
        """A step, and what happens when it is reached for the first time."""
        self.store = self.make_store(self.reached)
        self.store.open(namespace="crewmem")
        self.owners: list[Ingestor | None] = [None, None]

    # What comes to the log.

    @rule(
        session=sessions, text=st.sampled_from(["alpha", "beta", "gamma"]), key=st.sampled_from([None, None, "k"]),
        ttl=st.sampled_from([None, None, 3.0, 1000.0]), late=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    def publish_a_memory(self, session: str, text: str, key: str | None, ttl: float | None, late: bool) -> None:
        event = remember(text, number=self._number(), session=session, key=key, ttl=ttl)
        event = replace(event, time=event.time - timedelta(seconds=10)) if late else event
        expires_at = None if ttl is None else event.time + timedelta(seconds=ttl)
        self._memory(session, event, text, key=key, expires_at=expires_at, explicit=True)

    @rule(session=sessions, what=st.sampled_from(["cheap", "slow"]))
    def publish_a_kickoff(self, session: str, what: str) -> None:
        event = kickoff(f"Key findings: {what}", number=self._number(), session=session)
        self._memory(session, event, f"Key findings: {what}", explicit=False)

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def publish_it_again(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.log) - 1))
        self._append(self.log[number], self.meant[number])

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def forget_a_memory(self, data: st.DataObject) -> None:
        session, gone = data.draw(st.sampled_from(self.events))
        self._forget(session, gone.id)

    @rule(session=sessions, ahead=st.integers(1, 3))
    def forget_what_is_still_to_come(self, session: str, ahead: int) -> None:
        self._forget(session, f"event-{self._number() + ahead:05d}")

    @rule(session=sessions)
    def forget_a_session(self, session: str) -> None:
        event = erase(number=self._number(), session=session)
        self._append(encode(event), lambda meaning: meaning.forget_session(session, event.id, time=event.time))

    @rule(dropping=st.booleans())
    def apply_rules(self, dropping: bool) -> None:
        self.rules = DROP_ALL if dropping else KEEP_ALL
        event = apply_rules(self.rules, number=self._number())
        self._append(encode(event), lambda meaning: meaning.apply_rules(dropping=dropping))

    @rule()
    def publish_what_is_no_event(self) -> None:
        self._append(Record(b"default/x", b"no event"), lambda meaning: None)

    # What becomes of the owners.

    @rule(owner=owners)
    def restart(self, owner: int) -> None:
        self.owners[owner] = self._ingestor("g1")

    @rule(owner=owners, count=counts)
    def consume(self, owner: int, count: int) -> None:
        ingestor = self.owners[owner] = self.owners[owner] or self._ingestor("g1")
        records = self.log[ingestor.position() : ingestor.position() + count]
        if records:
            ingestor.process(records)
            ingestor.idle()

    @rule(owner=owners, count=counts, step=step_names)
    def crash(self, owner: int, count: int, step: str) -> None:
        def die() -> None:
            raise Crash

        self.at = (step, die)
        try:
            self.consume(owner, count)
        except Crash:
            self.owners[owner] = None
        self.at = None

    @rule(owner=owners, count=counts, step=step_names, more=st.integers(1, 8), restarted=st.booleans())
    def pause_while_the_other_goes_on(self, owner: int, count: int, step: str, more: int, restarted: bool) -> None:
        def go_on() -> None:
            if restarted:
                self.restart(1 - owner)
            self.consume(1 - owner, more)

        self.at = (step, go_on)
        self.consume(owner, count)
        self.at = None

    @rule(owner=owners)
    def catch_up(self, owner: int) -> None:
        self.restart(owner)
        self.consume(owner, len(self.log))
        assert self._found("g1") == self._meaning().texts()
        assert [row.offset for row in self.store.reader("g1").ledger(0, start=0, limit=10_000)] == list(range(len(self.log)))

    @rule(count=counts)
    def replay(self, count: int) -> None:
        self.replays += 1
        name = f"g{self.replays + 1}"
        ingestor = self._ingestor(name, rules=self.rules, until=len(self.log))
        for start in range(0, len(self.log), count):
            ingestor.process(self.log[start : start + count])
        meaning = Reference(dropping=self.rules == DROP_ALL)
        meaning.apply_rules = lambda *, dropping: None  # type: ignore[method-assign]
        for means in self.meant:
            means(meaning)
        assert self._found(name) == meaning.texts()
        self.store.drop(name)

    # What holds at any time.

    @invariant()
    def no_position_is_passed_over(self) -> None:
        offsets = [row.offset for row in self.store.reader("g1").ledger(0, start=0, limit=10_000)]
        assert offsets == list(range(len(offsets)))

    @invariant()
    def every_outcome_is_in_the_store(self) -> None:
        reader = self.store.reader("g1")
        rows = [row for batch in reader.scan(0) for row in batch]
        assert len({row.id for row in rows}) == len(rows)
        outcomes = {row.id: row.outcome for row in rows}
        for entry in reader.ledger(0, start=0, limit=10_000):
            for fate in entry.spans.values():
                if "memory_id" in fate:
                    assert outcomes[fate["memory_id"]] == fate["outcome"]

    @invariant()
    def what_was_forgotten_is_not_shown(self) -> None:
        done = self.store.reader("g1").last_offset(0) + 1
        gone = Reference()
        for means in self.meant[:done]:
            means(gone)
        for session, found in self._found("g1").items():
            assert not {(session, event) for event in found} & gone.named

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.catch_up(0)
            assert self.store.reader("g1").outcomes(0).get(Outcome.DEAD_LETTER, 0) == sum(
                record.value == b"no event" for record in self.log
            )
            self.store.close()

    def reached(self, step: str) -> None:
        if self.at is not None and self.at[0] == step:
            (_, happens), self.at = self.at, None
            happens()

    def _number(self) -> int:
        return len(self.log)

    def _append(self, record: Record | LoggedRecord, means: Callable[[Reference], None]) -> None:
        number = len(self.log)
        self.log.append(LoggedRecord(0, number, record.key, record.value, record.headers, 1_767_323_045_000 + number))
        self.meant.append(means)

    def _memory(
        self, session: str, event: Event, text: str, *, explicit: bool, key: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:  # fmt: skip
        self.events.append((session, event))
        self._append(
            encode(event),
            lambda meaning: meaning.remember(
                session, event.id, text, time=event.time, key=key, expires_at=expires_at, explicit=explicit
            ),
        )

    def _forget(self, session: str, gone: str) -> None:
        event = replace(forget((gone, "content"), (gone, "task/0"), number=self._number()), scope=Scope.of("default", session))
        self._append(encode(event), lambda meaning: meaning.forget(session, event.id, gone))

    def _ingestor(self, name: str, *, rules: str | None = None, until: int = 0) -> Ingestor:
        generation = Generation(
            name=name, embedder=EMBEDDER.name, embedder_fingerprint=EMBEDDER.fingerprint, dimensions=EMBEDDER.dimensions,
            partitions=1, rules=rules, rules_until={"0": until},
        )  # fmt: skip
        return Ingestor(
            generation=generation, partition=0, store=self.store.partition(name, 0, dimensions=EMBEDDER.dimensions),
            embedder=EMBEDDER, dead_letters=Letters(), keyring=plain_keyring(), checkpoint=self.reached,
            default_rules=KEEP_ALL,
        )  # fmt: skip

    def _meaning(self) -> Reference:
        meaning = Reference()
        for means in self.meant:
            means(meaning)
        return meaning

    def _found(self, generation: str) -> dict[str, dict[str, tuple[str, datetime | None, datetime | None]]]:
        scopes = {str(Scope.of("default", session)): session for session in SESSIONS}
        found: dict[str, dict[str, tuple[str, datetime | None, datetime | None]]] = {}
        for row in self.store.reader(generation).rows(scopes, partitions=[0]).rows:
            told = (row.content or "", row.expires_at, row.superseded_at)
            found.setdefault(scopes[row.scope or ""], {})[row.event_id] = told
        return found


class LanceMachine(Machine):
    """The same over LanceDB in a folder."""

    def make_store(self, checkpoint: Callable[[str], None]) -> Store:
        self.folder = tempfile.TemporaryDirectory()
        return LanceStore(self.folder.name, checkpoint=checkpoint)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestInMemory = Machine.TestCase
TestInMemory.settings = settings(
    max_examples=60, stateful_step_count=30, phases=PHASES, suppress_health_check=list(HealthCheck)
)
TestInLanceDB = LanceMachine.TestCase
TestInLanceDB.settings = settings(
    max_examples=4, stateful_step_count=20, phases=PHASES, suppress_health_check=list(HealthCheck)
)


def test_control_a_position_that_is_stored_before_its_rows_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = MemoryPartition.commit

    def ledger_first(self: MemoryPartition, *, rows: Any, updates: Any, ledger: Any) -> None:
        commit(self, rows=[], updates=[], ledger=ledger)
        commit(self, rows=rows, updates=updates, ledger=[])

    monkeypatch.setattr(MemoryPartition, "commit", ledger_first)
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(
            Machine, settings=settings(TestInMemory.settings, database=None, derandomize=True, max_examples=300)
        )
