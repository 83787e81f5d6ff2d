"""What `--where` of `crewmem dlq` can ask about: the CEL variables of a dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from crewmem_producers.log import Position

from crewmem_consumers.conditions import Condition, Fields, context_of
from crewmem_consumers.letter_box import Letter

VARIABLES: Mapping[str, str] = {
    "reason": "string: a short code, such as `newer_schema`, `not_json` or `wrong_key`",
    "detail": "string: why, in a sentence",
    "type": "string: the event's type, such as `crewmem.kickoff.completed`, or empty",
    "event_id": "string: its `ce_id`, or empty",
    "partition": "int: where its record lies",
    "offset": "int: where its record lies",
    "tenant": "string: whose it is, or empty where that cannot be read",
    "session": "string: of which session, or empty where that cannot be read",
    "state": "string: `open`, `redriven`, `discarded` or `processed`",
    "age_seconds": "double: how long ago its record was logged",
    "bytes": "int: how long its body is, as it lies on the log",
}
"""Name -> type and meaning, as the documentation shows them."""


class LetterCondition:
    """A condition over dead letters. Making it raises ValueError with the reason for anything unusable."""

    def __init__(self, source: str) -> None:
        self._condition = Condition(source, fields=Fields(tuple(VARIABLES), _samples))

    def holds(self, letter: Letter, *, now: datetime) -> bool:
        """Whether it is true of the letter. Raises ValueError when CEL cannot tell."""
        return self._condition.holds(context_of(_values(letter, now)))


def _values(letter: Letter, now: datetime) -> dict[str, Any]:
    return {
        "reason": letter.reason, "detail": letter.detail, "type": letter.type or "", "event_id": letter.event_id or "",
        "partition": letter.position.partition, "offset": letter.position.offset, "tenant": letter.tenant or "",
        "session": letter.session or "", "state": letter.state.value, "age_seconds": letter.age_seconds(now),
        "bytes": letter.bytes,
    }  # fmt: skip


def _samples() -> list[dict[str, Any]]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    nobodys = Letter(
        position=Position(0, 1), place=Position(0, 0), reason="not_json", detail="", type=None, event_id=None, time=now,
        tenant=None, session=None, sealed=None, bytes=0,
    )  # fmt: skip
    return [_values(nobodys, now)]
