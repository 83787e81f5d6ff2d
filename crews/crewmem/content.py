"""What may be remembered: text of 1 to 10,000 characters; more is cut at a sentence and marked."""

from __future__ import annotations

import re

from crewmem_producers.limits import CONTENT_CHARACTERS

from crewmem.errors import RequestRefused

_SENTENCE_END = re.compile(r"[.!?。！？][\"')\]]*\s|\n")


def fit_content(content: object) -> tuple[str, bool]:
    """The content as the service takes it, and whether it was cut. Raises RequestRefused for an empty one."""
    if not isinstance(content, str):
        raise RequestRefused(f"content is a string, not {type(content).__name__}")
    if not content.strip():
        raise RequestRefused("content is empty: there is nothing to remember")
    if len(content) <= CONTENT_CHARACTERS:
        return content, False
    mark = f" [cut: the first part of {len(content):,} characters]"
    return cut(content, CONTENT_CHARACTERS - len(mark)) + mark, True


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, ended at the last sentence in the second half of them, else at a word."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    ends = [match.end() for match in _SENTENCE_END.finditer(head) if match.end() > limit // 2]
    if ends:
        return head[: ends[-1]].rstrip()
    space = head.rfind(" ")
    return head[:space].rstrip() if space > limit // 2 else head
