"""Sentences and words of a text: what is cut, ranked and compared.

Part of splitter 1: a change here cuts spans elsewhere, so it needs a new splitter version.
"""

from __future__ import annotations

import re

_BREAK = re.compile(
    r"""(?<![.!?…])[.!?…]++["'”’)\]]*+\s++(?![a-z])|(?<![。！？])[。！？]++["'”’」』）]*+\s*+|\n\s*+"""
)  # possessive, and never begun inside a run: linear in the text, whatever it is
_NOT_AN_END = re.compile(
    r"(?:\b(?:Mrs?|Ms|Dr|Prof|Inc|Ltd|Corp|Co|vs|etc|approx|No|St|Jr|Sr|e\.g|i\.e|cf)|\b[A-Z]|(?:^|\n)\s*\d{1,3})\Z"
)
_LOOK_BACK = 12
"""Characters before a full stop that tell an abbreviation or a list number."""

_WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|[^\W_]+")

Interval = tuple[int, int]


def sentences(text: str, start: int = 0, end: int | None = None) -> list[Interval]:
    """Half-open intervals that cover text[start:end] without a gap: a sentence each, the white space after it included."""
    end = len(text) if end is None else end
    found, begin = [], start
    for match in _BREAK.finditer(text, start, end):
        if match.end() > begin and not _is_abbreviation(text, match):
            found.append((begin, match.end()))
            begin = match.end()
    if begin < end:
        found.append((begin, end))
    return found


def _is_abbreviation(text: str, match: re.Match[str]) -> bool:
    if not match.group().startswith(".") or "\n" in match.group():
        return False
    return _NOT_AN_END.search(text[max(0, match.start() - _LOOK_BACK) : match.start()]) is not None


def words_of(text: str) -> list[str]:
    """The words, case folded; in scripts that do not space words, the characters."""
    return _WORD.findall(text.casefold())
