"""Select: which spans of an event go on, by the rules in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crewmem_producers.events import Event

from crewmem_consumers.draft import Draft
from crewmem_consumers.rules import RuleSet, Truths
from crewmem_consumers.split import Span

MAX_MEMORIES = 10
"""The first so many kept spans of a kickoff count."""
LIMIT = "limit"
"""The rule of the spans beyond them."""
SINCE = "since"
"""The rule of events that are older than what a replay takes."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the rules made of one event: drafts of what they keep; of the rest the span's name and its rule, in order."""

    kept: tuple[Draft, ...]
    dropped: tuple[tuple[str, str], ...]


def _none(span: Span) -> Truths:
    del span
    return {}


def pass_over(spans: Sequence[Span]) -> Selection:
    """For an event before the time from which its generation takes them."""
    return Selection((), tuple((span.name, SINCE) for span in spans))


def select(
    event: Event, spans: Sequence[Span], rules: RuleSet, *, truths: Callable[[Span], Truths] = _none, ask: bool = True
) -> Selection:
    """Rules run once a span, until MAX_MEMORIES are kept; what comes after that is dropped by `limit`. `truths` tells what
    is known of conditions already; without `ask` it must tell all, else NotKnown is raised."""
    kept: list[Draft] = []
    dropped: list[tuple[str, str]] = []
    for span in spans:
        if len(kept) == MAX_MEMORIES:
            dropped.append((span.name, LIMIT))
            continue
        decision = rules.decide(event, span, truths=truths(span), ask=ask)
        if decision.keeps:
            kept.append(Draft(event, span, decision))
        else:
            dropped.append((span.name, decision.rule))
    return Selection(tuple(kept), tuple(dropped))
