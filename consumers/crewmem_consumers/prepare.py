"""Prepare: everything that a record's text alone decides: its selection by the rules, its redacted contents, and the sentences
of it that may be echoes.

This is the work that runs foreign patterns and rules over foreign text. It needs no model, no store and no key, so that it can
run in a process of its own (`worker_pool`), which may be killed over it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from crewmem_producers.events import Event

from crewmem_consumers import echo
from crewmem_consumers.decode import FAULT, MAX_DETAIL
from crewmem_consumers.draft import Draft
from crewmem_consumers.echo import Compared
from crewmem_consumers.fingerprint import made_by
from crewmem_consumers.memories import metadata_of, named
from crewmem_consumers.redact import redact
from crewmem_consumers.rules import Decision, RuleSet, Truths
from crewmem_consumers.select import Selection, select
from crewmem_consumers.split import Span, split

log = logging.getLogger("crewmem.consumer")

RULE_SETS = 16
"""Rule files that are kept compiled."""


@dataclass(frozen=True, slots=True)
class Work:
    """One record's work. By span, where an older generation knows: `truths` are what its conditions were found to be,
    `made_by` is the fingerprint of the program whose content is taken over if the rule keeps the span just so."""

    event: Event
    rules: str
    truths: dict[str, Truths] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of one kept span."""

    content: str | None
    source_hash: str
    compared: Compared | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """`kept` and `dropped` are those of the Selection; `made` what was made, by span, except where content is taken over."""

    kept: tuple[tuple[str, Decision], ...]
    dropped: tuple[tuple[str, str], ...]
    made: dict[str, Made]
    metadata: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a record is a dead letter."""

    reason: str
    detail: str


Outcome = Prepared | Failed


class Preparer(Protocol):
    """Where the work is done."""

    def prepare(self, works: Sequence[Work], *, group: str = "") -> Iterator[Outcome | None]:
        """An outcome for each, in order. None in between means that it takes long: it may be stopped there. Callers of one
        group, which is a generation, wait for no other group. Raises Unavailable where it can't be done now."""


class InProcess:
    """Does the work here, with no limit of time or memory: for tests, and where every text is one's own."""

    def prepare(self, works: Sequence[Work], *, group: str = "") -> Iterator[Outcome | None]:
        del group
        for work in works:
            yield attempt(work)


def attempt(work: Work) -> Outcome:
    """What comes of the work, a fault of this program too. Raises MemoryError and OSError, which say nothing of the record."""
    try:
        return prepare(work)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        log.exception("event %s becomes a dead letter: this program failed over it", work.event.id)
        return Failed(FAULT, f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()[:MAX_DETAIL])


def prepare(work: Work) -> Prepared:
    """Does the work. Takes as long as the text and the rules make it."""
    selection = select(work.event, split(work.event), _rules(work.rules), truths=lambda span: work.truths.get(span.name, {}))
    new = [draft for draft in selection.kept if work.made_by.get(draft.span.name) != made_by(draft.decision.keep)]
    redact(new)
    echo.compare(new)
    named(selection.kept)
    return Prepared(
        kept=tuple((draft.span.name, draft.decision) for draft in selection.kept),
        dropped=selection.dropped,
        made={draft.span.name: Made(draft.content, draft.source_hash, draft.compared) for draft in new},
        metadata=metadata_of(work.event) if selection.kept else None,
    )


def selection_of(event: Event, spans: Sequence[Span], prepared: Prepared) -> Selection:
    """The drafts that the rules keep, and what they drop."""
    by_name = {span.name: span for span in spans}
    kept = tuple(Draft(event, by_name[name], decision) for name, decision in prepared.kept)
    return Selection(kept, prepared.dropped)


def fill(drafts: Sequence[Draft], prepared: Prepared) -> None:
    """Puts what was made into drafts that have no content yet."""
    for draft in drafts:
        draft.metadata = prepared.metadata
        made = prepared.made.get(draft.span.name)
        if made is not None and draft.content is None:
            draft.content, draft.source_hash, draft.compared = made.content, made.source_hash, made.compared


@lru_cache(maxsize=RULE_SETS)
def _rules(text: str) -> RuleSet:
    return RuleSet.parse(text, file="rules in force", applied=True)
