"""The names of spans: which piece of an event's input one is (`raw`, `task/2`, `task/2/chars 0-900`, `content`)."""

from __future__ import annotations

import re

_CHARS = re.compile(r"(?P<base>.+)/chars (?P<start>[0-9]{1,18})-(?P<end>[0-9]{1,18})")
"""Longer numbers, which Python may refuse to read, stand in no text that is a span: such a name is one as a whole."""


def overlap(first: str, second: str) -> bool:
    """Whether two span names of one event share input, whatever the splitter version: `task/2` holds `task/2/chars 0-900`."""
    (base, start, end), (other, other_start, other_end) = _parsed(first), _parsed(second)
    return base == other and start < other_end and other_start < end


def _parsed(name: str) -> tuple[str, float, float]:
    match = _CHARS.fullmatch(name)
    return (name, 0, float("inf")) if match is None else (match["base"], int(match["start"]), int(match["end"]))
