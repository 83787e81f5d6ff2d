"""Recalled memories as one block of text, ready for a backstory: each with who said it, its date and its age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crewmem_producers.display import display_name, display_text

from crewmem_store.embedder import Embedder
from crewmem_store.rows import MemoryRow
from crewmem_store.search import Hit

HEAD = "What earlier runs found out:"
CUT = " [...]"


@dataclass(frozen=True, slots=True)
class Block:
    """`text` is empty when nothing fits or nothing was found. `hits` are those that are in it; `tokens` are its own."""

    text: str
    tokens: int
    hits: tuple[Hit, ...]


def block(hits: Sequence[Hit], *, now: datetime, max_tokens: int, embedder: Embedder) -> Block:
    """The hits, in their order, that fit into `max_tokens` (as the embedder counts). One that does not fit is left out,
    and the next is tried; when not even the first one fits alone, it is cut."""
    lines = [line(hit.row, now=now) for hit in hits]
    costs = embedder.count_tokens([HEAD, *(f"\n{text}" for text in lines)])
    used, taken = costs[0], []
    for place, cost in enumerate(costs[1:]):
        if used + cost <= max_tokens:
            used += cost
            taken.append(place)
    if not taken and lines:
        return _cut(hits[0], lines[0], max_tokens=max_tokens, embedder=embedder)
    if not taken:
        return Block("", 0, ())
    text = "\n".join([HEAD, *(lines[place] for place in taken)])
    return Block(text, embedder.count_tokens([text])[0], tuple(hits[place] for place in taken))


def line(row: MemoryRow, *, now: datetime) -> str:
    """`- <date>, <age>, <who>: <what>`, on one line. What is the summary where there is one, else the extract."""
    who, what = _parts(row)
    said = " ".join(display_text(row.summary or what).split())
    head = ", ".join(part for part in (f"{row.created_at:%Y-%m-%d}", age(now, row.created_at), display_name(who)) if part)
    return f"- {head}: {said}"


def age(now: datetime, then: datetime) -> str:
    """How long ago, in words that a prompt can use: `today`, `yesterday`, `5 days ago`, `3 months ago`; `in the future`
    from tomorrow on."""
    days = (now.date() - then.date()).days
    if days < 0:
        return "in the future"
    if days == 0:
        return "today"
    if days == 1:
        return "yesterday"
    for unit, length in (("year", 365), ("month", 30), ("week", 7)):
        if days >= 2 * length:
            return f"{days // length} {unit}s ago"
    return f"{days} days ago"


def _parts(row: MemoryRow) -> tuple[str, str]:
    """Who and what of a row's text, which is `<who> (<date>): <what>`."""
    text = row.text or ""
    who, mark, what = text.partition(f"({row.created_at:%Y-%m-%d}): ")
    return (who.strip(), what) if mark else (row.agent_role or row.crew or "", text)


def _cut(hit: Hit, text: str, *, max_tokens: int, embedder: Embedder) -> Block:
    """The longest beginning of the line, in words, that fits with the head; nothing when hardly a word does."""
    words = text.split(" ")
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if _count(words[:middle], embedder) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    if low <= len(text.partition(": ")[0].split(" ")):
        return Block("", 0, ())
    return Block(_cut_text(words[:low]), _count(words[:low], embedder), (hit,))


def _cut_text(words: Sequence[str]) -> str:
    return f"{HEAD}\n{' '.join(words)}{CUT}"


def _count(words: Sequence[str], embedder: Embedder) -> int:
    return embedder.count_tokens([_cut_text(words)])[0]
