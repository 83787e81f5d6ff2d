"""The schedule and the workload of the chaos run, its journal and its command line: pure functions of the seed, and what a
kill leaves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from chaos import journal
from chaos.__main__ import options_of, parser
from chaos.journal import Following, Journal
from chaos.report import arguments
from chaos.schedule import Options, schedule
from chaos.workload import LATE, Workload, owner_of
from crewmem_producers.events import MemoryRemembered, utc_now


def test_a_seed_gives_one_schedule_and_another_seed_another() -> None:
    assert schedule(Options(seed=7)) == schedule(Options(seed=7)) != schedule(Options(seed=8))


def test_the_long_form_kills_two_hundred_times_and_replays_in_the_middle() -> None:
    steps = schedule(Options(seed=7))
    kinds = Counter(step.target.partition("-")[0] for step in steps if step.action == "kill")
    assert kinds.total() >= 200 and set(kinds) == {"publisher", "consumer", "service", "broker"}
    [replay] = [step for step in steps if step.action == "replay"]
    assert 0.4 < replay.at / Options(seed=7).events < 0.6


def test_every_schedule_erases_redrives_and_makes_newer_consumers_before_its_replay() -> None:
    for options in (Options(seed=7), Options(seed=7, events=640, kills=8)):
        steps = schedule(options)
        found = Counter(step.action for step in steps)
        assert min(found[name] for name in ("erase", "forget", "forget-session", "redrive", "pause", "stop")) > 0
        at = {step.action: step.at for step in steps if found[step.action] == 1}
        assert at["upgrade"] < at["replay"]
        newer = [step.at for step in steps if step.action == "newer"]
        assert min(newer) < at["upgrade"] < max(newer)


def test_the_command_that_is_printed_gives_the_same_options() -> None:
    assert arguments(Options(seed=7)) == "--seed 7"
    options = Options(seed=7, events=640, kills=8, store="s3", rate=40.0, without=("order", "seek"), widen=0.3)
    said = "--seed 7 --events 640 --kills 8 --store s3 --rate 40 --widen 0.3 --without order,seek"
    assert arguments(options) == said
    assert options_of(parser().parse_args(said.split())) == options


def test_an_event_is_the_same_whenever_it_is_asked_for_but_for_its_time() -> None:
    first, again = (Workload(7, 3).event(number) for number in (11, 11))
    assert (first.id, first.body, first.scope) == (again.id, again.body, again.scope)


def test_some_facts_come_late_and_say_so() -> None:
    now = utc_now()
    events = [Workload(7, 2).event(number) for number in range(500)]
    late = [event for event in events if event.time < now - LATE / 2]
    assert 0 < len(late) < 50 and all(isinstance(event.body, MemoryRemembered) for event in late)


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


def test_a_journal_that_is_followed_says_what_it_says_when_it_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    following = Following(path)
    assert following.look().next == 0
    book = Journal(path)
    for number in range(0, 20, 2):
        book.intended(range(number, number + 2))
        if number % 6:
            book.acknowledged(range(number, number + 2))
        assert following.look() == journal.read(path)
    assert following.look().open == [range(0, 2), range(6, 8), range(12, 14), range(18, 20)]
