"""Echo: sentences that only repeat what was recalled into the kickoff are cut, so that memory does not feed on itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crewmem_producers.events import Event, KickoffCompleted

from crewmem_consumers.draft import Draft
from crewmem_consumers.embed import Vectors, cosines
from crewmem_consumers.numbers import numbers
from crewmem_consumers.sentences import sentences
from crewmem_consumers.split import ERROR

ECHO = "echo"
"""The rule of a span of which nothing is left."""
COSINE = 0.92

_MARKUP = re.compile(r"^(?:[\s>*_#•·–—-]+|\(?\d{1,3}[.)]\s+)+|[*_`]+")
_HEADER = re.compile(
    r"(?:\(\d{4}-\d{2}-\d{2}(?:, [^)\n]{1,40})?\)|\(undated\))(?: [^:\n]{1,200})?: "  # the block that crews get
    r"|\d{4}-\d{2}-\d{2}, [^:\n]{1,240}: "  # the block that the service makes
    r"|[^\n:(]{0,200}\(\d{4}-\d{2}-\d{2}\): "  # a memory's text
)
_HEADING = re.compile(r"what earlier runs found out\b[^\n]*:$", re.IGNORECASE)
"""The line above both blocks."""
_LETTER = re.compile(r"[^\W_]")
_FOLD = re.compile(r"[\W_]+")


@dataclass(slots=True)
class _Compared:
    """A draft's sentences, which of them are echoes, and what was recalled into its kickoff."""

    draft: Draft
    parts: list[str]
    echoes: list[bool]
    known: list[str]

    @property
    def undecided(self) -> list[int]:
        return [i for i, part in enumerate(self.parts) if not self.echoes[i] and _LETTER.search(part)]


def cut(drafts: Sequence[Draft], *, vectors: Vectors) -> None:
    """Cuts from `content` each sentence that repeats a memory of the same session recalled into that kickoff: the same words,
    or a cosine of at least COSINE and no number of its own. Where nothing is left `content` becomes None."""
    compared = _compared(drafts)
    _mark_near(compared, vectors)
    for one in compared:
        if any(one.echoes):
            left = "".join(part for part, echo in zip(one.parts, one.echoes, strict=True) if not echo).strip()
            one.draft.content = left if _LETTER.search(left) else None


def _compared(drafts: Sequence[Draft]) -> list[_Compared]:
    """The drafts that can hold an echo; sentences in the very words of what was recalled are marked already."""
    said = {id(draft.event): _said(draft.event) for draft in drafts}
    found = []
    for draft in drafts:
        known = said[id(draft.event)]
        if known and draft.content is not None and draft.span.name != ERROR:
            parts = [draft.content[start:end] for start, end in sentences(draft.content)]
            literal = {_folded(text) for text in known}
            echoes = [_folded(plain(part)) in literal or _HEADING.match(plain(part)) is not None for part in parts]
            found.append(_Compared(draft, parts, echoes, known))
    return found


def _mark_near(compared: Sequence[_Compared], vectors: Vectors) -> None:
    """Marks sentences that are close to one that was recalled."""
    asked = [(one, one.undecided) for one in compared if one.undecided]
    wanted = [plain(one.parts[i]) for one, rest in asked for i in rest]
    found = vectors.embed(wanted + [text for one, _ in asked for text in one.known])
    for one, rest in asked:
        near = cosines([found[plain(one.parts[i])] for i in rest], [found[text] for text in one.known]) >= COSINE
        held = [numbers(text) for text in one.known]
        for i, close in zip(rest, near, strict=True):
            own = numbers(plain(one.parts[i]))
            one.echoes[i] = any(is_close and own <= there for is_close, there in zip(close, held, strict=True))


def _said(event: Event) -> list[str]:
    """What was recalled from the event's own session: each text, and each of its sentences, without header and markup."""
    if not isinstance(event.body, KickoffCompleted) or event.scope is None:
        return []
    said: dict[str, None] = {}
    for memory in event.body.recalled:
        if memory.session == event.scope.session:
            text = plain(memory.text)
            said |= dict.fromkeys([text, *(plain(text[start:end]) for start, end in sentences(text))])
    return [text for text in said if _LETTER.search(text)]


def plain(text: str) -> str:
    """A sentence without list markers, emphasis, and the who and when that a recalled memory begins with."""
    text = _MARKUP.sub("", text.strip())
    match = _HEADER.match(text)
    return text if match is None else text[match.end() :].strip() or text


def _folded(text: str) -> str:
    return _FOLD.sub(" ", text.casefold()).strip()
