"""What a rule's condition can ask about: the CEL variables of a span, each always there and always of one type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from crewmem_producers.events import Event, KickoffCompleted, KickoffFailed, MemoryRemembered

from crewmem_consumers import patterns
from crewmem_consumers.split import Span

VARIABLES: Mapping[str, str] = {
    "type": "string: `completed`, `failed` or `remembered`",
    "span": "string: the piece: `task/2`, `task/2/chars 0-3950`, `raw`, `content`, or `error` for what ended a kickoff",
    "text": "string: the piece as it was published, at most 4,000 characters of an output",
    "crew": "string: the crew's name, or empty",
    "crew_key": "string: CrewAI's key of the crew, which stays when its name changes, or empty",
    "agent_role": "string: the role of the agent, or empty",
    "task_key": "string: CrewAI's key of the task, which stays when its name changes, or empty",
    "task_name": "string: the task's name, or empty",
    "tasks": "int: how many task outputs the kickoff has",
    "inputs": "map: the kickoff's inputs that `CREWMEM_PUBLISH_INPUTS` lists",
    "error_type": "string: the exception's type of a failed kickoff, or empty",
    "kind": "string: the kind that a remember names, or empty",
    "key": "string: the key that a remember names, or empty",
    "speaker": "string: the speaker that a remember names, or empty",
    "importance": "double: 0 to 1; 0.5 unless a remember says otherwise",
    "metadata": "map: the metadata of a remember",
}
"""Name -> type and meaning, as the documentation shows them."""


def of_span(event: Event, span: Span) -> dict[str, Any]:
    """The value of every variable for this span."""
    values: dict[str, Any] = {
        "type": "remembered", "span": span.name, "text": span.text, "crew": "", "crew_key": "", "agent_role": "",
        "task_key": "", "task_name": "", "tasks": 0, "inputs": {}, "error_type": "", "kind": "", "key": "", "speaker": "",
        "importance": 0.5, "metadata": {},
    }  # fmt: skip
    match event.body:
        case MemoryRemembered() as body:
            values |= {
                "crew": body.crew or "", "agent_role": body.agent_role or "", "kind": body.kind, "key": body.key or "",
                "speaker": body.speaker or "", "importance": body.importance, "metadata": body.metadata,
            }  # fmt: skip
        case KickoffCompleted() as body:
            values |= {
                "type": "completed", "crew": body.crew or "", "crew_key": body.crew_key, "tasks": len(body.tasks),
                "inputs": body.inputs,
            }  # fmt: skip
            if isinstance(body, KickoffFailed):
                values |= {"type": "failed", "error_type": body.error.type}
    if span.task is not None:
        values |= {
            "agent_role": span.task.agent_role or "", "task_key": span.task.key, "task_name": span.task.name or "",
        }  # fmt: skip
    return values


def search(text: str, pattern: str) -> bool:
    """Whether the regular expression (see `patterns`; case ignored) is found anywhere in the text. Raises PatternRefused."""
    return patterns.compiled(pattern).found_in(text)


def mentions(text: str, words: list[str]) -> bool:
    """Whether any of these words or phrases is in the text, as whole words, case ignored."""
    found = _any_word(tuple(words))
    if text.isascii() and not any(map(text.lower().__contains__, found.words)):
        return False
    return found.pattern.search(text) is not None


FUNCTIONS: Mapping[str, Callable[..., Any]] = {"search": search, "mentions": mentions}
"""What conditions can call beside CEL's own. CEL's `matches` compiles its pattern at every call; `search` does not."""


@dataclass(frozen=True, slots=True)
class _Phrases:
    """A pattern, and a word of each phrase that it finds, in lower case: one of them is in every ASCII text where it finds
    anything (an empty one tells nothing). To look for those first takes a tenth of the time."""

    pattern: re.Pattern[str]
    words: frozenset[str]


@lru_cache(maxsize=1024)
def _any_word(phrases: tuple[str, ...]) -> _Phrases:
    inner = "|".join(re.escape(phrase).replace(r"\ ", r"\s+") for phrase in phrases)
    pattern = re.compile(rf"(?<!\w)(?:{inner})(?!\w)", re.IGNORECASE)
    words = (max(phrase.split(" "), key=len).lower() if phrase.isascii() else "" for phrase in phrases or ("",))
    return _Phrases(pattern, frozenset(words))
