"""Freshness tokens: `1.<partition>.<offset>`, or `1.<partition>.e.<event id>`, joined by `,`."""

from __future__ import annotations

from dataclasses import dataclass

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


def format_token(marks: list[Mark]) -> str:
    """The token that waits for all of them."""
    return ",".join(str(mark) for mark in marks)


def parse_token(text: str) -> list[Mark]:
    """Raises ValueError with the reason for anything that `format_token` did not make."""
    return [_parse_mark(part) for part in text.split(",")]


def _parse_mark(text: str) -> Mark:
    match text.split("."):
        case ["1", partition, "e", event_id] if partition.isdecimal() and event_id:
            return Mark(int(partition), event_id=event_id)
        case ["1", partition, offset] if partition.isdecimal() and offset.isdecimal():
            return Mark(int(partition), offset=int(offset))
    raise ValueError(f"not a freshness token: {text!r} (expected 1.<partition>.<offset>)")
