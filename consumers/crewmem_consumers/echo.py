"""Echo: sentences that only repeat what was recalled into the kickoff are cut, so that memory does not feed on itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from crewmem_producers.events import Event, KickoffCompleted

from crewmem_consumers.claims import claims, held_by
from crewmem_consumers.draft import Draft
from crewmem_consumers.embed import Vectors
from crewmem_consumers.sentences import sentences, words_of
from crewmem_consumers.split import ERROR

ECHO = "echo"
"""The rule of a span of which nothing is left."""
COSINE = 0.92
SHARED = 1 / 3
"""Sentences that share less than this of their words (of the one that has fewer) are not compared, which saves most of the
embedding: of 155 pairs of LoCoMo sentences with a cosine of .92 the least shared half; of other pairs 3 in 100 pass."""

MOST_SAID = 1_000
"""Sentences of what was recalled that a draft's are compared with, at most: its first. Each is compared with each."""

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


@dataclass(frozen=True, slots=True)
class _Said:
    """A sentence that was recalled: itself, its words and its claims."""

    text: str
    words: frozenset[str]
    claims: Counter[str]


@dataclass(slots=True)
class Compared:
    """A draft's sentences, which of them are echoes, and for the others what was recalled that shares words with them."""

    parts: list[str]
    echoes: list[bool]
    candidates: dict[int, list[_Said]]


def compare(drafts: Sequence[Draft]) -> None:
    """Fills `compared` of the drafts that can hold an echo; sentences in the very words of what was recalled are marked."""
    said = {id(draft.event): _said(draft.event) for draft in drafts}
    for draft in drafts:
        if said[id(draft.event)] and draft.content is not None and draft.span.name != ERROR:
            draft.compared = _one(draft.content, said[id(draft.event)])


def cut(drafts: Sequence[Draft], *, vectors: Vectors) -> None:
    """Cuts from `content` each sentence that repeats a memory of the same session recalled into that kickoff: the same words,
    or a cosine of at least COSINE and no claim of its own (see `claims`). Where nothing is left `content` becomes None."""
    compared = [(draft, draft.compared) for draft in drafts if draft.compared is not None]
    _mark_near([one for _, one in compared], vectors)
    for draft, one in compared:
        if any(one.echoes):
            _mark_headings(one)
            left = "".join(part for part, echo in zip(one.parts, one.echoes, strict=True) if not echo).strip()
            draft.content = left if _LETTER.search(left) else None
        draft.compared = None


def _one(content: str, said: Sequence[_Said]) -> Compared:
    parts = [content[start:end] for start, end in sentences(content)]
    literal = {_folded(memory.text) for memory in said}
    plains = [plain(part) for part in parts]
    echoes = [_folded(text) in literal or _HEADING.match(text) is not None for text in plains]
    candidates = {
        place: near for place, text in enumerate(plains) if not echoes[place] and (near := _sharing(_words(text), said))
    }
    return Compared(parts, echoes, candidates)


def _sharing(words: frozenset[str], said: Sequence[_Said]) -> list[_Said]:
    return [memory for memory in said if len(words & memory.words) >= SHARED * max(1, min(len(words), len(memory.words)))]


def _mark_near(compared: Sequence[Compared], vectors: Vectors) -> None:
    """Marks sentences that are close to one that was recalled."""
    pairs = [(one, place, plain(one.parts[place]), near) for one in compared for place, near in one.candidates.items()]
    wanted = [text for _, _, text, _ in pairs] + [memory.text for *_, near in pairs for memory in near]
    found = vectors.embed(wanted)
    for one, place, text, near in pairs:
        own = claims(text)
        one.echoes[place] = any(
            float(found[text] @ found[memory.text]) >= COSINE and held_by(own, memory.claims) for memory in near
        )


def _mark_headings(one: Compared) -> None:
    """A line that ends in a colon and introduced only what is cut introduces nothing."""
    for place in reversed(range(len(one.parts) - 1)):
        follower = next((after for after in range(place + 1, len(one.parts)) if _LETTER.search(one.parts[after])), None)
        if follower is not None and one.echoes[follower] and plain(one.parts[place]).endswith(":"):
            one.echoes[place] = True


def _said(event: Event) -> list[_Said]:
    """What was recalled from the event's own session: each sentence, without header and markup."""
    if not isinstance(event.body, KickoffCompleted) or event.scope is None:
        return []
    texts: dict[str, None] = {}
    for memory in event.body.recalled:
        if memory.session == event.scope.session:
            text = plain(memory.text)
            texts |= dict.fromkeys(plain(text[start:end]) for start, end in sentences(text))
        if len(texts) >= MOST_SAID:
            break
    texts = dict.fromkeys(islice(texts, MOST_SAID))
    return [_Said(text, _words(text), claims(text)) for text in texts if _LETTER.search(text)]


def plain(text: str) -> str:
    """A sentence without list markers, emphasis, and the who and when that a recalled memory begins with."""
    text = _MARKUP.sub("", text.strip())
    match = _HEADER.match(text)
    return text if match is None else text[match.end() :].strip() or text


def _folded(text: str) -> str:
    return _FOLD.sub(" ", text.casefold()).strip()


def _words(text: str) -> frozenset[str]:
    """The beginnings of the words, so that `charges` and `charged` are one; where words are not spaced, the characters."""
    return frozenset(word[:5] for word in words_of(text))
