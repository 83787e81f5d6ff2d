"""Which records of a batch need work on their texts, and what comes of it: what an older generation knows is taken over, the
rest is handed to the preparer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered, RulesApplied

from crewmem_consumers.item import Item, Rejection
from crewmem_consumers.known import Known
from crewmem_consumers.prepare import Failed, Outcome, Preparer, Work, fill, selection_of
from crewmem_consumers.rules import NotKnown, RuleSet, Truths
from crewmem_consumers.rules_in_force import RulesInForce
from crewmem_consumers.select import pass_over, select
from crewmem_consumers.split import Span, split


@dataclass(frozen=True, slots=True)
class Waiting:
    """An item whose texts need work."""

    item: Item
    event: Event
    spans: Sequence[Span]
    work: Work


def known_alone(items: Sequence[Item], rules: RulesInForce, *, known: Known, since: datetime | None) -> list[Waiting]:
    """Selects what can be selected from what is known, and fills its drafts; gives the items of which that is not enough.

    `rules` are those in force before the first item; events older than `since` are passed over.
    """
    waiting: list[Waiting] = []
    for item in items:
        body = None if item.event is None else item.event.body
        if isinstance(body, RulesApplied):
            rules = rules.after(body)
        elif item.event is not None and isinstance(body, KickoffCompleted | MemoryRemembered):
            if since is not None and item.event.time < since:
                item.selection = pass_over(split(item.event))
            else:
                work = _work(item, item.event, rules.at(item.record.offset), known)
                waiting += [] if work is None else [work]
    return waiting


def _work(item: Item, event: Event, rules: RuleSet, known: Known) -> Waiting | None:
    """What is to be done for the item; None when all of it is known."""
    spans = split(event)
    item.rules_sha256 = rules.sha256
    truths_of = known.truths_of(event, item.crc)
    truths = {span.name: found for span in spans if (found := truths_of(span))}
    if truths and _is_made(item, event, spans, rules, truths, known):
        return None
    made_by = {span.name: made for span in spans if (made := known.made_by(event, item.crc, span)) is not None}
    return Waiting(item, event, spans, Work(event, rules.text, truths, made_by))


def _is_made(
    item: Item, event: Event, spans: Sequence[Span], rules: RuleSet, truths: Mapping[str, Truths], known: Known
) -> bool:
    """Whether what is known selects the item and makes each draft of it."""
    try:
        item.selection = select(event, spans, rules, truths=lambda span: truths.get(span.name, {}), ask=False)
    except NotKnown:
        return False
    known.fill([item])
    return all(draft.content is not None for draft in item.selection.kept)


def prepared(waiting: Sequence[Waiting], preparer: Preparer, *, known: Known, group: str) -> Iterator[None]:
    """Has the work done, in order, and puts what comes of it into the items. Yields while it waits. Raises Unavailable."""
    left = iter(waiting)
    for outcome in preparer.prepare([one.work for one in waiting], group=group):
        if outcome is not None:
            _take(next(left), outcome, known)
        yield


def _take(one: Waiting, outcome: Outcome, known: Known) -> None:
    item = one.item
    if isinstance(outcome, Failed):
        item.event, item.selection, item.rejection = None, None, Rejection(outcome.reason, outcome.detail)
        return
    if item.selection is None:
        item.selection = selection_of(one.event, one.spans, outcome)
        known.fill([item])
    fill(item.selection.kept, outcome)
