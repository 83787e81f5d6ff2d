"""Split: an event into spans, by splitter 1. It depends on no rule, summariser or embedder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crewmem_producers.events import Event, KickoffCompleted, KickoffFailed, MemoryRemembered, TaskOutput

from crewmem_consumers.sentences import Interval, sentences

SPLITTER = 1
"""Noted in every generation: another splitter cuts other spans, so it needs a generation of its own."""
PIECE = 4_000
"""Code points of a piece, at most."""
CONTENT = "content"
RAW = "raw"
ERROR = "error"
"""The span of what made a kickoff fail."""

_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of an event's input: source[start:end], code points of the unredacted source. `task` is what it is the output
    of, or the task that failed; None for `raw` and `content`."""

    name: str
    source: str
    start: int
    end: int
    task: TaskOutput | None = None

    @property
    def text(self) -> str:
        return self.source[self.start : self.end]


def split(event: Event) -> list[Span]:
    """The spans of a kickoff or a remember, in order; none for other events."""
    match event.body:
        case MemoryRemembered() as body:
            return [Span(CONTENT, body.content, 0, len(body.content))]
        case KickoffFailed() as body:
            return [_error(body), *_outputs(body, empty=False)]
        case KickoffCompleted() as body:
            return _outputs(body, empty=not body.tasks)
    return []


def _outputs(body: KickoffCompleted, *, empty: bool) -> list[Span]:
    """With `empty`, an empty `raw` is a span as well, so that every completed kickoff has one to be judged by."""
    spans = [span for task in body.tasks for span in _pieces(f"task/{task.index}", task.raw, task)]
    if body.raw not in {task.raw for task in body.tasks} and (body.raw or empty):
        spans += _pieces(RAW, body.raw, None)
    return spans


def _error(body: KickoffFailed) -> Span:
    """What went wrong, as one sentence: `<type>: <message>`, cut to a piece."""
    task = next((task for task in body.tasks if task.index == body.error.task_index), None)
    said = f"{body.error.type}: {body.error.message}"[:PIECE]
    return Span(ERROR, said, 0, len(said), task)


def _pieces(name: str, source: str, task: TaskOutput | None) -> list[Span]:
    if len(source) <= PIECE:
        return [Span(name, source, 0, len(source), task)]
    return [Span(f"{name}/chars {start}-{end}", source, start, end, task) for start, end in pieces(source)]


def pieces(source: str, limit: int = PIECE) -> list[Interval]:
    """Half-open intervals of at most `limit` code points that cover the source without a gap.

    Each ends after the last paragraph within the limit, else after the last sentence, else at white space, else at the limit.
    """
    found, start = [], 0
    while len(source) - start > limit:
        end = _cut(source, start, start + limit)
        found.append((start, end))
        start = end
    return [*found, (start, len(source))]


def _cut(source: str, start: int, end: int) -> int:
    paragraphs = [match.end() for match in _PARAGRAPH.finditer(source, start, end)]
    if paragraphs and paragraphs[-1] > start:
        return paragraphs[-1]
    inner = sentences(source, start, end)
    if len(inner) > 1:
        return inner[-1][0]
    space = max(source.rfind(" ", start + 1, end), source.rfind("\n", start + 1, end))
    return space + 1 if space > 0 else end
