"""Dead letters: records that can never be processed, with their original bytes and where and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crewmem_producers.codec import format_time
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.log import Header, LoggedRecord, Record

from crewmem_consumers.item import Rejection

PREFIX = "crewmem-dlq-"
CUT = PREFIX + "cut"
"""The header of a letter without a body: with its own headers the record is over what a log takes. It says how many bytes were
left out; they stay where they were, on the events' log."""


class DeadLetters(Protocol):
    """Where dead letters go."""

    def send(self, letters: Sequence[Record]) -> None:
        """Returns when all are acknowledged. Raises LogUnavailable. A letter may be sent again after a crash."""


def letter(record: LoggedRecord, rejection: Rejection) -> Record:
    """The record as it was, and headers that say where it lies, why it was rejected, and when it was logged; without its body
    (`CUT`) when it would be too large."""
    time = format_time(record.logged_at)
    said = {
        "partition": str(record.partition), "offset": str(record.offset), "reason": rejection.reason,
        "detail": " ".join(rejection.detail.split()), "time": time,
    }  # fmt: skip
    added: tuple[Header, ...] = tuple((PREFIX + name, value.encode("utf-8", "replace")) for name, value in said.items())
    whole = Record(key=record.key, value=record.value, headers=record.headers + added)
    if whole.size <= RECORD_BYTES or record.value is None:
        return whole
    return Record(key=record.key, value=None, headers=(*whole.headers, (CUT, str(len(record.value)).encode())))
