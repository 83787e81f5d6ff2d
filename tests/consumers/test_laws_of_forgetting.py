"""Laws of forgetting: what was forgotten stays so after a replay with other rules, another splitter and another embedder, what
repeats it does not come back in its place, and what an offline publisher brings later is forgotten with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from crewmem_consumers import decide, prepare, preparing
from crewmem_consumers.split import Span, pieces, split
from crewmem_producers.events import Event, KickoffCompleted, MemoryForgotten, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.spans import overlap
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.rows import MemoryRow
from crewmem_store.service import forget as service
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.pipeline import Pipeline, erase_by_key, event, kickoff, remember

SESSIONS = ("ann", "bob")
SAID = (
    "Acme raised the price of its seats to 49 dollars.", "Beta moved into the old harbour of Lyon in May.",
    "The crew decided on Postgres for the ledger.", "Nobody answered the phone at Gamma on Tuesday.",
)  # fmt: skip
LIVE = "version: 1\nrules:\n  - {name: all, action: keep, with: {kind: finding}}\n"
OTHER_RULES = (
    LIVE,
    "version: 1\nrules:\n  - {name: all, action: keep, with: {kind: data, duplicates: keep}}\n",
    "version: 1\nrules:\n  - {name: none, when: 'text.contains(\"Acme\")', action: drop}\n"
    "  - {name: all, action: keep, with: {kind: finding, duplicates: exact}}\n",
)
SMALL = 60
KEY = SimpleNamespace(tenant="default", allows=lambda session, right: True)


def split_small(event: Event) -> list[Span]:
    """Splitter 2: pieces of at most `SMALL` code points, of what is remembered too. Splitter 1 gives whole ones here."""
    found: list[Span] = []
    for span in split(event):
        cuts = pieces(span.source, SMALL)
        names = [span.name] if len(cuts) == 1 else [f"{span.name}/chars {start}-{end}" for start, end in cuts]
        found += [Span(name, span.source, start, end, span.task) for name, (start, end) in zip(names, cuts, strict=True)]
    return found


SPLITTERS = {1: split, 2: split_small}


@contextmanager
def splitting(version: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for module in (prepare, preparing):
            patched.setattr(module, "split", SPLITTERS[version])
        yield


@dataclass
class History:
    """A log as it came about, with what was forgotten in it: by whoever saw what the live generation holds."""

    live: Pipeline = field(default_factory=lambda: Pipeline(rules=LIVE))
    events: list[Event] = field(default_factory=list)
    forgotten: list[tuple[int, str, str]] = field(default_factory=list)
    """Offset of the forget, session, and the memory's whole source."""

    def publish(self, made: Event) -> None:
        self.events.append(made)
        self.live.run(made)

    def forget(self, session: str, which: int) -> None:
        rows = self.live.rows(session)
        if not rows:
            return
        row = rows[which % len(rows)]
        [named] = service._find(self.live.store.reader("g1"), row.id, KEY).values()  # type: ignore[arg-type]
        offset = len(self.events)
        self.publish(event(MemoryForgotten(spans=named), number=offset, session=session))
        of = (row.event_id, row.span)
        sources = {source for made in self.events for base, source in _sources(made) if (made.id, base) == of}
        self.forgotten += [(offset, session, source) for source in sources]


def _sources(made: Event) -> list[tuple[str, str]]:
    """The event's outputs: the span that each is as a whole, and its text."""
    match made.body:
        case KickoffCompleted() as body:
            return [(f"task/{task.index}", task.raw) for task in body.tasks]
        case MemoryRemembered() as body:
            return [("content", body.content)]
    return []


def history(steps: list[tuple[Any, ...]]) -> History:
    made = History()
    for what, session, said, late in steps:
        number, days = len(made.events), -1.0 if late else 0.0
        text = "\n\n".join(SAID[one] for one in said)
        match what:
            case "kickoff":
                made.publish(kickoff(text, number=number, session=session, days=days))
            case "remember":
                made.publish(remember(text, number=number, session=session, days=days, kind="finding"))
            case "again" if made.events:
                made.publish(made.events[sum(said) % len(made.events)])
            case "forget":
                made.forget(session, sum(said))
            case "erase":
                made.publish(erase_by_key(number=number, session=session))
    return made


@dataclass(frozen=True)
class Replay:
    rules: str
    splitter: int
    dimensions: int


def replayed(events: list[Event], how: Replay) -> list[MemoryRow]:
    """Every memory that a replay of the log shows."""
    pipeline = Pipeline(rules=LIVE, embedder=HashingEmbedder(dimensions=how.dimensions), replay=(how.rules, len(events)))
    pipeline.generation = replace(pipeline.generation, splitter=how.splitter)
    with splitting(how.splitter):
        pipeline.run(*events)
    return [row for session in SESSIONS for row in pipeline.rows(session)]


def came_back(made: History, how: Replay) -> list[str]:
    """What a replay shows although it was forgotten."""
    rows, found = replayed(made.events, how), []
    for offset, one in enumerate(made.events):
        if isinstance(one.body, MemoryForgotten):
            named = [(ref.event_id, ref.span) for ref in one.body.spans]
            found += [
                f"{row.event_id} {row.span} was named at {offset}" for row in rows
                for id, span in named if row.scope == str(one.scope) and row.event_id == id and overlap(row.span, span)
            ]  # fmt: skip
    for offset, session, source in made.forgotten:
        scope = str(Scope.of("default", session))
        said = [(one.id, base) for one in made.events[:offset] for base, text in _sources(one) if text == source]
        found += [
            f"{row.event_id} {row.span} says what was forgotten at {offset}" for row in rows
            for id, base in said if (row.scope, row.event_id) == (scope, id) and overlap(row.span, base)
        ]  # fmt: skip
    for offset, one in enumerate(made.events):
        if one.record_key is not None and one not in made.events[:offset]:  # a repeat of an erase is none
            found += [
                f"{row.event_id} {row.span} is of a session that was erased at {offset}" for row in rows
                if Scope.parse(row.scope or "").key == one.record_key and _is_before(row, offset, one.time)
            ]  # fmt: skip
    return found


def _is_before(row: MemoryRow, offset: int, time: datetime) -> bool:
    return row.offset < offset or row.created_at <= time


steps = st.lists(
    st.tuples(
        st.sampled_from(["kickoff", "kickoff", "remember", "remember", "again", "forget", "forget", "erase"]),
        st.sampled_from(SESSIONS), st.lists(st.sampled_from(range(len(SAID))), min_size=1, max_size=3), st.booleans(),
    ),
    max_size=14,
)  # fmt: skip
replays = st.builds(Replay, st.sampled_from(OTHER_RULES), st.sampled_from([1, 2]), st.sampled_from([384, 32]))


usual = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.reuse, Phase.generate])


@settings(usual, max_examples=150)
@given(steps, replays)
def test_what_was_forgotten_stays_so_in_every_replay(taken: list[tuple[Any, ...]], how: Replay) -> None:
    assert came_back(history(taken), how) == []


@settings(usual, max_examples=60)
@given(steps, replays)
def test_forgetting_only_takes_away(taken: list[tuple[Any, ...]], how: Replay) -> None:
    """Of what came before a forget, nothing is shown that would not be shown without it."""
    made = history([*taken, ("forget", "ann", [0], False)])
    forgets = [offset for offset, one in enumerate(made.events) if isinstance(one.body, MemoryForgotten)]
    without = list(made.events)
    for offset in forgets:
        without[offset] = remember("nothing", number=offset, session="zoe")
    shown = {(row.id, row.text) for row in replayed(made.events, how) if row.offset < min(forgets, default=0)}
    assert shown <= {(row.id, row.text) for row in replayed(without, how)}


def test_the_second_splitter_cuts_otherwise_and_a_forget_covers_its_pieces() -> None:
    made = history([("remember", "ann", [0, 1, 2, 3], False), ("forget", "ann", [0], False)])
    spans = {n: {row.span for row in replayed(made.events[:1], Replay(LIVE, n, 384))} for n in SPLITTERS}
    assert spans[1] == {"content"}
    assert len(spans[2]) > 1 and all(span.startswith("content/chars ") for span in spans[2])
    assert replayed(made.events, Replay(LIVE, 2, 384)) == []


@pytest.mark.parametrize(
    ("guard", "steps", "how"),
    [
        ("overlap", [("remember", "ann", [0, 1, 2], False), ("forget", "ann", [0], False)], Replay(LIVE, 2, 384)),
        ("repeats", [("kickoff", "ann", [0], False)] * 2 + [("forget", "ann", [0], False)], Replay(OTHER_RULES[1], 1, 384)),
        ("time", [("erase", "ann", [0], False), ("remember", "ann", [1], True)], Replay(LIVE, 1, 32)),
    ],
)
def test_the_law_can_fail(guard: str, steps: list[tuple[Any, ...]], how: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    assert came_back(history(steps), how) == []
    if guard == "overlap":  # a forget covers only the span that it names
        monkeypatch.setattr(decide, "overlap", lambda one, other: one == other)
    elif guard == "repeats":  # a forget names the memory alone
        monkeypatch.setattr(service, "_with_repeats", lambda reader, rows: list(rows))
    else:  # an erase takes what lies before it, not what happened before it
        monkeypatch.setattr(
            "crewmem_consumers.sessions.Session.is_erased", lambda self, *, offset, time: offset < self.erased_below
        )
    assert came_back(history(steps), how) != []
