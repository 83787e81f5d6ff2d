"""Freshness tokens: `1.<partition>.<offset>`, or `1.<partition>.e.<event id>`, joined by `,`; at most TOKEN_MARKS of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from crewmem_producers.limits import EVENT_ID_CHARACTERS, TOKEN_CHARACTERS, TOKEN_MARKS

LATEST = "latest"
"""Instead of a token: wait for the end of the session's partition as it is now."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to wait for: an offset, or (for an event not yet on the log) an event id, of a partition."""

    partition: int
    offset: int | None = None
    event_id: str | None = None

    def __str__(self) -> str:
        return f"1.{self.partition}.{self.offset}" if self.event_id is None else f"1.{self.partition}.e.{self.event_id}"


_MARK = re.compile(rf"1\.([0-9]{{1,4}})\.(?:([0-9]{{1,19}})|e\.([\x21-\x2b\x2d-\x7e]{{1,{EVENT_ID_CHARACTERS}}}))")


def folded(marks: Iterable[Mark]) -> list[Mark]:
    """Of each partition its largest offset, which implies the others, then each event once."""
    offsets: dict[int, int] = {}
    events: dict[Mark, None] = {}
    for mark in marks:
        if mark.offset is None:
            events[mark] = None
        else:
            offsets[mark.partition] = max(mark.offset, offsets.get(mark.partition, 0))
    return [Mark(partition, offset=offset) for partition, offset in sorted(offsets.items())] + list(events)


def format_token(marks: Iterable[Mark]) -> str:
    """The token that waits for all of them; a partition's offsets are folded to the largest."""
    return ",".join(str(mark) for mark in folded(marks))


def parse_token(text: str) -> list[Mark]:
    """The marks of a token, folded.

    Raises ValueError with the reason for anything that `format_token` did not make, and over TOKEN_CHARACTERS or TOKEN_MARKS.
    """
    if len(text) > TOKEN_CHARACTERS or text.count(",") >= TOKEN_MARKS:
        raise ValueError(f"a freshness token has at most {TOKEN_MARKS} marks and {TOKEN_CHARACTERS} characters")
    return folded(_parse_mark(part) for part in text.split(","))


def _parse_mark(text: str) -> Mark:
    match = _MARK.fullmatch(text)
    if match is None:
        raise ValueError(f"not a freshness token: {text[:200]!r} (expected 1.<partition>.<offset>)")
    partition, offset, event_id = match.groups()
    return Mark(int(partition), offset=None if offset is None else int(offset), event_id=event_id)
