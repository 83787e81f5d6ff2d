"""An item: one record of a batch, and what the stages have found out about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from crewmem_producers.events import Event
from crewmem_producers.log import LoggedRecord

from crewmem_consumers.select import Selection


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record can never be processed: a short code, and a sentence."""

    reason: str
    detail: str


@dataclass(slots=True)
class Item:
    """`event` is None exactly when `rejection` says why, or when it is `erased`: nobody can open it any more. `record` is as it
    lies on the log, sealed or not, and `crc` that of its bytes. `selection` is there for kickoffs and remembers; `rules_sha256`
    names the rules that made it."""

    record: LoggedRecord
    crc: int = field(init=False)
    event: Event | None = None
    rejection: Rejection | None = None
    erased: bool = False
    selection: Selection | None = None
    rules_sha256: str | None = None

    def __post_init__(self) -> None:
        self.crc = self.record.crc
