"""A trial of rules decides as the rules would, compares with what is there, and stores nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from crewmem_consumers.replay import replay
from crewmem_consumers.rules import RuleSet, default_rules
from crewmem_consumers.rules_trial import try_rules
from crewmem_consumers.trial_report import Trial
from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import UnknownGeneration
from crewmem_store.rows import Vector
from support.logged import content_of, remembered, rules_record
from support.machine import Machine, machine_in
from support.pipeline import START, erase, forget, kickoff

NOW = START + timedelta(days=3)


def rules(*lines: str) -> RuleSet:
    return RuleSet.parse("version: 1\nrules:\n" + "".join(f"  - {{{line}, why: a test}}\n" for line in lines))


KEEP_ALL = "name: all, when: 'true', action: keep, with: {kind: finding}"


class Counting(HashingEmbedder):
    texts = 0

    def embed(self, texts: Sequence[str]) -> Vector:
        self.texts += len(texts)
        return super().embed(texts)


@dataclass
class TrialMachine(Machine):
    embedder: Counting = field(default_factory=Counting)

    async def put(self, *events: Event) -> None:
        await self.log.append([encode(event) for event in events])

    async def build(self) -> None:
        await replay(self.settings, **self.parts)
        self.embedder.texts = 0

    async def trial(self, rules: RuleSet, **how: Any) -> Trial:
        return await try_rules(self.settings, rules, clock=lambda: NOW, **self.parts, **how)


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[TrialMachine]:
    async with machine_in(tmp_path, TrialMachine) as made:
        yield made


async def test_the_rules_that_are_in_force_change_nothing(machine: TrialMachine) -> None:
    await machine.put(*(kickoff(content_of(number), number=number) for number in range(8)), remembered(0))
    await machine.put(forget((kickoff("", number=3).id, "task/0"), number=50), kickoff(content_of(1), number=60))
    await machine.put(erase(number=70), kickoff(content_of(5), number=80), remembered(2, session="other"))
    await machine.build()
    trial = await machine.trial(default_rules())
    assert trial.counts == {"appear": 0, "disappear": 0, "change": 0}
    assert trial.memories_now == trial.memories_then == 3
    assert all((one.kept, one.dropped) == (one.kept_now, one.dropped_now) for one in trial.rules)
    assert machine.embedder.texts <= 8, "only what is forgotten has no vector to take over"


async def test_what_would_appear_disappear_and_change_is_counted_and_shown(machine: TrialMachine) -> None:
    old = rules("name: prices, when: 'text.contains(\"price\")', action: drop", KEEP_ALL)
    await machine.log.append([rules_record(old.text)])
    await machine.put(*(kickoff(f"The price of {content_of(number)}", number=number) for number in range(4)))
    await machine.put(*(kickoff(f"A rumour: {content_of(number)}", number=number) for number in range(10, 13)))
    await machine.put(kickoff(content_of(20), number=20), remembered(21))
    await machine.build()
    new = rules(
        "name: rumours, when: 'text.contains(\"rumour\")', action: drop",
        "name: rest, when: 'true', action: keep, with: {kind: data, ttl: none}",
    )
    trial = await machine.trial(new, samples=2)
    assert trial.counts == {"appear": 4, "disappear": 3, "change": 1}
    assert (trial.events, trial.memories_now, trial.memories_then) == (9, 5, 6)
    found = {one.rule: (one.kept, one.dropped, one.kept_now, one.dropped_now) for one in trial.rules}
    assert found == {"rumours": (0, 3, 0, 0), "rest": (6, 0, 0, 0), "prices": (0, 0, 0, 4), "all": (0, 0, 5, 0)}
    assert [len(trial.samples[what]) for what in ("appear", "disappear", "change")] == [2, 2, 1]
    assert all(one.rule == "rest" and "price" in one.text for one in trial.samples["appear"])
    assert all(one.rule == "rumours" and "rumour" in one.text for one in trial.samples["disappear"])
    assert (trial.samples["change"][0].kind, trial.samples["change"][0].session) == ("data", "project_q1")
    assert machine.embedder.texts == 4, "the others have their vectors"


async def test_nothing_is_stored_and_the_same_trial_says_the_same(machine: TrialMachine) -> None:
    await machine.put(*(kickoff(content_of(number), number=number) for number in range(20)))
    await machine.build()
    before, registered = dict(machine.store._tables), dict(machine.registry.items(""))
    first = await machine.trial(rules(KEEP_ALL), samples=3)
    assert first == await machine.trial(rules(KEEP_ALL), samples=3)
    assert machine.store._tables == before
    assert machine.registry.items("") == registered


async def test_a_trial_of_what_is_newer_takes_what_is_older_as_it_is(machine: TrialMachine) -> None:
    await machine.put(*(kickoff(content_of(number), number=number) for number in range(5)))
    await machine.put(kickoff(content_of(3), number=10, days=1), kickoff(content_of(30), number=11, days=1))
    await machine.build()
    trial = await machine.trial(rules("name: none, when: 'true', action: drop"), since=START + timedelta(hours=12))
    assert (trial.events, trial.counts["disappear"], trial.counts["appear"]) == (2, 1, 0)
    trial = await machine.trial(rules(KEEP_ALL), since=START + timedelta(hours=12))
    assert trial.memories_then == 1, "one of them repeats an older memory"


async def test_progress_is_told_and_what_the_generation_has_not_processed_is_left_out(machine: TrialMachine) -> None:
    await machine.put(*(remembered(number) for number in range(700)))
    await machine.build()
    await machine.put(remembered(900))
    told: list[tuple[int, int]] = []
    trial = await machine.trial(default_rules(), progress=lambda done, total: told.append((done, total)))
    assert told == [(500, 700), (700, 700)]
    assert trial.events == 700


async def test_without_a_generation_there_is_nothing_to_compare_with(machine: TrialMachine) -> None:
    with pytest.raises(UnknownGeneration):
        await machine.trial(default_rules())
