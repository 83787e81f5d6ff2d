"""A stand-in for a language model, for examples, the demo and tests: no network, no key, the same answer every time.

It is no model. It reads its prompt and rearranges the facts that it finds there; it knows nothing else, so whatever an
agent says beyond its task can only have come from the memory that was recalled into its prompt. Facts are lines that
start with `- `: in the system prompt (or under CrewAI's heading for memories) they are what memory knows, in the task
they are new sources, in the context they are what the task before found. What it does with them depends on the task's
first words:

- plan, build, develop, prepare: numbered steps, each naming the fact that it rests on;
- write, summarise, sum up: the context again, as one paragraph;
- anything else is research: the sources that memory does not hold yet, and how many were left out because it does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from crewai import BaseLLM

from crewmem.named_model import named_model

NOTHING_NEW = "I do not have any new finding: memory knows all that the sources say."
NOTHING_KNOWN = "I do not know anything about this: neither the task nor memory holds a fact."
MAX_STEPS = 5

_PLANNING = re.compile(r"\s*(plan|build|develop|prepare|draw up|make)\b", re.IGNORECASE)
_WRITING = re.compile(r"\s*(write|summari[sz]e|sum up)\b", re.IGNORECASE)
_TASK = re.compile(r"Current Task:(.*?)(?:\n\s*This is the expected criteria|\Z)", re.DOTALL)
_CONTEXT = re.compile(r"This is the context you're working with:\n(.*?)(?:\n\s*Provide your complete response|\Z)", re.DOTALL)
_MEMORIES = re.compile(r"# Memories from past conversations:\n(.*?)\n\nIMPORTANT", re.DOTALL)
_FACT = re.compile(r"^\s*(?:-|\d+\.)\s+(.*\S)\s*$", re.MULTILINE)
_DATED = re.compile(r"^\(\d{4}-\d\d-\d\d,[^)]*\)[^:]{0,80}: |^\(score=[\d.]+\) ")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[a-z0-9$€%.]*[a-z0-9]")
_COMMON = re.compile(r"a|an|and|are|as|at|be|by|for|from|has|have|in|is|it|its|of|on|or|per|the|to|was|were|with")


class OfflineLLM(BaseLLM):
    """Works only with what its prompt holds; see the module's text for how."""

    def __init__(self, model: str = "offline", **options: Any) -> None:
        super().__init__(model=model, **options)

    def call(self, messages: Any, *args: Any, **options: Any) -> str:
        """The answer to a CrewAI prompt."""
        system, user = _texts(messages)
        task = _first(_TASK, user) or user
        context = _first(_CONTEXT, user)
        return answer(task, known=facts(system) + facts(_first(_MEMORIES, user)), context=context)

    def get_input_tokens_count(self, messages: Any, *args: Any, **options: Any) -> int:
        return sum(len(text) for text in _texts(messages)) // 4

    def supports_function_calling(self) -> bool:
        return False


def choose_llm(environ: Mapping[str, str] = os.environ) -> BaseLLM:
    """The model that the environment names (OPENAI_API_KEY, or OPENAI_BASE_URL and OPENAI_MODEL_NAME for Ollama, vLLM,
    LM Studio), else the offline one."""
    from crewai import LLM

    named = named_model(environ)
    if named is None:
        return OfflineLLM()
    return LLM(model=named.model, provider="openai", base_url=named.base_url, api_key=named.api_key, temperature=0)


def answer(task: str, *, known: list[str], context: str) -> str:
    """What the offline model says to a task, given what memory knows and what the task before put out."""
    lines = task.strip().splitlines() or [""]
    if _PLANNING.match(lines[0]):
        return _plan(facts(context) + facts(task), known)
    if _WRITING.match(lines[0]):
        return _write(context, known)
    return _research(facts(task), known)


def facts(text: str) -> list[str]:
    """The facts of a text: its list items, without headings and the date that memory puts before them, each once."""
    found = [_DATED.sub("", item) for item in _FACT.findall(text)]
    return list(dict.fromkeys(item for item in found if item and not item.endswith(":")))


def holds(known: list[str], fact: str) -> bool:
    """Whether one of the known texts says the fact: nearly all its words in one of their sentences, all its numbers."""
    words = _words(fact)
    if not words:
        return True
    numbers = {word for word in words if any(char.isdigit() for char in word)}
    sentences = (_words(sentence) for text in known for sentence in (text, *_SENTENCE.split(text)))
    return any(numbers <= said and len(words & said) >= 0.8 * len(words) for said in sentences)


def _research(sources: list[str], known: list[str]) -> str:
    new = [fact for fact in sources if not holds(known, fact)]
    left_out = len(sources) - len(new)
    if not sources:
        said = "".join(f"\n- {fact}" for fact in known)
        return f"The task names no sources. From memory:{said}" if said else NOTHING_KNOWN
    note = f"Already known, not repeated: {left_out} of {len(sources)}." if left_out else ""
    if not new:
        return NOTHING_NEW
    return "\n".join(["Findings:", *(f"- {fact}" for fact in new), *([note] if note else [])])


def _write(context: str, known: list[str]) -> str:
    found = [fact if fact.endswith((".", "!", "?")) else f"{fact}." for fact in facts(context)]
    if found:
        return "In short: " + " ".join(found)
    if context.strip():
        return " ".join(context.split())
    return "In short, from memory: " + " ".join(known) if known else "There is nothing to write about yet."


def _plan(found: list[str], known: list[str]) -> str:
    facts_found = list(dict.fromkeys(found + known))
    # What only sums up other facts is no ground of its own.
    grounds = [fact for fact in facts_found if not any(other != fact and holds([fact], other) for other in facts_found)]
    grounds = (grounds or facts_found)[:MAX_STEPS]
    if not grounds:
        return "I do not know any fact to rest a plan on: neither the task nor memory holds one."
    steps = (f"{number}. Act on this: {fact}" for number, fact in enumerate(grounds, start=1))
    return "\n".join(["A plan, each step resting on a fact:", *steps])


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if not _COMMON.fullmatch(word)}


def _texts(messages: Any) -> tuple[str, str]:
    """(system prompt, the rest) of what CrewAI passes: a string, or messages."""
    if isinstance(messages, str):
        return "", messages
    system = [str(m.get("content") or "") for m in messages if m.get("role") == "system"]
    return "\n".join(system), "\n".join(str(m.get("content") or "") for m in messages if m.get("role") != "system")


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match.group(1) if match else ""
