"""Accounts of random histories: what consumers make of any log closes, by numbers and by a walk; what is damaged does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from crewmem_producers.codec import encode
from crewmem_producers.events import Event, EventDiscarded, EventRedriven, PositionRef
from crewmem_producers.log import Record
from crewmem_store.accounting import Account, Verified, account, verify
from hypothesis import given, settings
from hypothesis import strategies as st
from support.keyrings import plain_keyring
from support.listed_log import ListedLog
from support.pipeline import START, Pipeline, apply_rules, erase, failure, forget, kickoff, remember

SENTENCES = ("Globex has 4 offices.", "Initech charges 49 dollars.", "Hooli was founded in 1998.", "I don't know.")
NO_HOOLI = """version: 1
rules:
  - {name: no-hooli, when: 'text.contains("Hooli")', action: drop}
  - {name: everything, action: keep}
"""


class Killed(BaseException):
    """The process ended here."""


class History:
    """A pipeline that goes through one step after another; `chance` decides what each is about."""

    def __init__(self, chance: Random) -> None:
        self.pipeline = Pipeline()
        self.pipeline.run()
        self.chance = chance
        self.number = 0

    def remembers(self) -> None:
        self.put(remember(**self.said(), key=self.chance.choice([None, None, "k"])))

    def kicks_off(self) -> None:
        self.put(kickoff(*self.chance.sample(SENTENCES, self.chance.randint(0, 3)), number=self.next(), session=self.session()))

    def fails(self) -> None:
        self.put(failure(self.chance.choice(SENTENCES), number=self.next()))

    def forgets(self) -> None:
        """A memory that is there, one that comes later, or one that never does."""
        about = f"event-{self.chance.randint(1, self.number + 5):05d}"
        span = self.chance.choice(["content", "task/0", "task/1", "raw", "task/0/chars 0-9"])
        self.put(forget((about, span), number=self.next(), session=self.session()))

    def erases(self) -> None:
        self.put(erase(number=self.next(), session=self.session()))

    def comes_late(self) -> None:
        """From a publisher that was offline: it happened before what is on the log already."""
        self.put(replace(remember(**self.said()), time=START))

    def repeats(self) -> None:
        if self.pipeline.log:
            old = self.chance.choice(self.pipeline.log)
            self.put(Record(key=old.key, value=old.value, headers=old.headers))

    def breaks(self) -> None:
        headers = (("ce_id", f"event-{self.next():05d}".encode()), ("ce_type", b"crewmem.memory.remembered"))
        self.put(Record(key=b"default/x", value=self.chance.choice([None, b"{"]), headers=headers))

    def settles_a_letter(self) -> None:
        """Discarded, or put on the log again; then it may still be broken, or be understood."""
        broken = [record for record in self.pipeline.log if record.value in (None, b"{")]
        if broken:
            letter = self.chance.choice(broken)
            id, position = str(letter.header("ce_id")), PositionRef(partition=0, offset=letter.offset)
            body = self.chance.choice([EventRedriven, EventDiscarded])(position=position, event_id=id)
            if isinstance(body, EventRedriven):
                again = Record(key=letter.key, value=letter.value, headers=letter.headers)
                self.put(self.chance.choice([again, replace(remember(**self.said()), id=id)]))
            self.put(Event(body=body, scope=None, id=f"fact-{self.next()}", time=START, source="test"))

    def applies_rules(self) -> None:
        self.put(apply_rules(NO_HOOLI, number=self.next()))

    def leaves_a_gap(self) -> None:
        self.pipeline.append(remember(**self.said()), gap=self.chance.randint(1, 9))

    def is_processed(self) -> None:
        last = self.pipeline.log[-1].offset if self.pipeline.log else 0
        self.pipeline.run(cuts=sorted(self.chance.sample(range(last + 1), min(3, last))))

    def is_killed(self) -> None:
        at = self.chance.choice(["rows_merged", "updates_applied", "ledger_written"])

        def kill(name: str) -> None:
            if name == at:
                raise Killed

        self.pipeline.checkpoint = kill
        with contextlib.suppress(Killed):
            self.is_processed()
        self.pipeline.checkpoint = lambda name: None

    def is_rewound(self) -> None:
        """A power cut: the ledger's last rows are gone, the rows of memory are there still."""
        ledger = self.tables().ledger
        for offset in sorted(ledger)[self.chance.randint(0, len(ledger)) :]:
            del ledger[offset]

    def said(self) -> dict[str, Any]:
        return {"content": self.chance.choice(SENTENCES), "number": self.next(), "session": self.session()}

    def session(self) -> str:
        return self.chance.choice(["s0", "s1"])

    def next(self) -> int:
        self.number += 1
        return self.number

    def put(self, one: Event | Record) -> None:
        self.pipeline.append(encode(one) if isinstance(one, Event) else one)

    def tables(self) -> Any:
        """The store's own tables, to damage."""
        return self.pipeline.store._tables["g1", 0]

    def audit(self) -> tuple[Account, Verified]:
        log, reader = ListedLog(self.pipeline.log), self.pipeline.store.reader("g1")

        async def both() -> tuple[Account, Verified]:
            numbers = await account(log, reader, self.pipeline.generation, now=START)
            return numbers, await verify(log, reader, self.pipeline.generation, keyring=plain_keyring())

        return asyncio.run(both())


STEPS = (
    "remembers", "kicks_off", "fails", "forgets", "erases", "comes_late", "repeats", "breaks", "settles_a_letter",
    "applies_rules", "leaves_a_gap", "is_processed", "is_killed", "is_rewound",
)  # fmt: skip
HISTORIES = st.tuples(st.lists(st.sampled_from(STEPS), max_size=40), st.integers(0, 2**32))


def gone_through(steps: Sequence[str], seed: int) -> History:
    history = History(Random(seed))
    for step in steps:
        getattr(history, step)()
    return history


def test_the_steps_lead_to_every_outcome() -> None:
    history = gone_through(list(STEPS[:11]) * 12, seed=7)
    history.is_processed()
    assert set(Counter(history.pipeline.outcomes())) == {
        "stored", "dropped", "duplicate", "dead_letter", "forgotten", "applied",
    }  # fmt: skip
    numbers, walked = history.audit()
    assert walked.closes and all(numbers.partitions[0].dead_letters.values())


@settings(max_examples=150)
@given(HISTORIES)
def test_every_history_closes_at_any_moment_and_at_its_end(drawn: tuple[list[str], int]) -> None:
    history = gone_through(*drawn)
    for _ in range(2):
        numbers, walked = history.audit()
        assert numbers.closes and walked.closes, (numbers.json(), *map(str, walked.misfits))
        [one] = numbers.partitions
        assert one.processed == sum(one.outcomes.values()) == walked.partitions[0].ledger
        assert sum(one.dead_letters.values()) == one.outcomes.get("dead_letter", 0)
        history.is_processed()
    assert numbers.partitions[0].lag == 0 and numbers.partitions[0].processed == len(history.pipeline.log)


@settings(max_examples=100)
@given(HISTORIES)
def test_a_replay_with_other_rules_closes_too(drawn: tuple[list[str], int]) -> None:
    history = gone_through(*drawn)
    again = History(history.chance)
    again.pipeline = Pipeline(rules=NO_HOOLI)
    again.pipeline.log = history.pipeline.log
    again.pipeline.run()
    again.is_processed()
    numbers, walked = again.audit()
    assert numbers.closes and walked.closes, (numbers.json(), *map(str, walked.misfits))


@settings(max_examples=100)
@given(HISTORIES, st.sampled_from(["ledger", "memory", "text"]))
def test_what_is_taken_out_is_found(drawn: tuple[list[str], int], what: str) -> None:
    history = gone_through(["remembers", *drawn[0]], drawn[1])
    history.is_processed()
    tables = history.tables()
    if what == "text":
        with_text = sorted(id for id, row in tables.memory.items() if row.text is not None)
        if not with_text:
            return
        id = history.chance.choice(with_text)
        tables.memory[id] = replace(tables.memory[id], text=None)
    else:
        rows = getattr(tables, what)
        del rows[history.chance.choice(sorted(rows)[: -1 if what == "ledger" else None] or sorted(rows))]
    numbers, walked = history.audit()
    last_of_one = what == "ledger" and not tables.ledger
    assert not walked.closes or last_of_one
    assert numbers.closes is (what != "ledger" or last_of_one)
