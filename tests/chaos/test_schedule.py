"""The schedule and the workload of the chaos run, and its journal: pure functions of the seed, and what a kill leaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from chaos import journal
from chaos.journal import Journal
from chaos.schedule import Options, schedule
from chaos.workload import Workload, owner_of
from crewmem_producers.events import MemoryRemembered


def test_a_seed_gives_one_schedule_and_another_seed_another() -> None:
    assert schedule(Options(seed=7)) == schedule(Options(seed=7)) != schedule(Options(seed=8))


def test_the_long_form_kills_two_hundred_times_and_replays_in_the_middle() -> None:
    steps = schedule(Options(seed=7))
    kinds = Counter(step.target.partition("-")[0] for step in steps if step.action == "kill")
    assert kinds.total() >= 200 and set(kinds) == {"publisher", "consumer", "service", "broker"}
    [replay] = [step for step in steps if step.action == "replay"]
    assert 0.4 < replay.at / Options(seed=7).events < 0.6


def test_an_event_is_the_same_whenever_it_is_asked_for_but_for_its_time() -> None:
    first, again = (Workload(7, 3).event(number) for number in (11, 11))
    assert (first.id, first.body, first.scope) == (again.id, again.body, again.scope)


def test_every_text_names_its_tenant_and_session() -> None:
    for number in range(200):
        event = Workload(7, 2).event(number)
        assert event.scope is not None
        if isinstance(event.body, MemoryRemembered):
            assert owner_of(event.body.content) == (event.scope.tenant, event.scope.session)


def test_some_events_are_repeats_and_some_say_what_another_said() -> None:
    events = [Workload(7, 2).event(number) for number in range(500)]
    ids = Counter(event.id for event in events)
    said = Counter(event.body.content for event in events if isinstance(event.body, MemoryRemembered))
    assert any(count > 1 for count in ids.values())
    assert sum(said.values()) - len(said) > sum(ids.values()) - len(ids)


def test_a_journal_tells_what_was_meant_and_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert journal.read(path).next == 0
    book = Journal(path)
    book.intended(range(0, 3))
    book.acknowledged(range(0, 3))
    book.intended(range(3, 7))
    said = journal.read(path)
    assert (said.next, said.acknowledged, said.open) == (7, {0, 1, 2}, [range(3, 7)])
