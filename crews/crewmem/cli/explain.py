"""What became of an event: its record, its row in the ledger, the rules that decided, and the memories that were made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crewmem_producers import writer
from crewmem_producers.codec import decode
from crewmem_producers.events import RulesApplied
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import record_at

from crewmem.cli.errors import UnknownEvent

if TYPE_CHECKING:
    from crewmem_consumers.explain import Explanation
    from crewmem_consumers.rules import RuleSet
    from crewmem_store.generations import Generation
    from crewmem_store.rows import LedgerRow
    from crewmem_store.store import StoreReader

_LOOK_BACK = 5_000
"""Ledger rows that are read at once on the way back to the rules that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What became of one record of the log.

    `reason` and `detail` are there where no rule was asked, as for a dead letter. `spans` says what was decided of each
    piece; `contents` maps the id of each memory that was made and not forgotten to its text. `writer` is the API key that
    wrote it, where it has spans and one did.
    """

    partition: int
    offset: int
    event_id: str | None
    type: str | None
    time: datetime | None
    outcome: str
    reason: str | None
    detail: str | None
    rules_sha256: str | None
    spans: tuple[Explanation, ...]
    contents: Mapping[str, str]
    writer: dict[str, str] | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self)


async def explain(
    event_id: str, *, log: EventLog, reader: StoreReader, generation: Generation, keyring: Keyring
) -> list[Explained]:
    """Every record of that event, in the order of the log. Raises UnknownEvent, KeyErased, InvalidEvent, Unavailable."""
    found = await asyncio.to_thread(reader.ledger_of, event_id)
    if not found:
        raise UnknownEvent(f"no event {event_id} has been processed; `crewmem stats` shows how far the consumer is")
    contents = {row.id: row.content for row in await asyncio.to_thread(reader.by_event, event_id) if row.content}
    explained = []
    for partition, row in found:
        spans: tuple[Explanation, ...] = ()
        written_by = None
        if row.spans:
            record = await _record(log, partition, row)
            written_by = writer.as_json(writer.parse(record.header(writer.HEADER)))
            spans = await explain_spans(row, record, reader=reader, generation=generation, keyring=keyring)
        explained.append(replace(_explained(partition, row, spans, contents), writer=written_by))
    return explained


async def explain_spans(
    row: LedgerRow, record: LoggedRecord, *, reader: StoreReader, generation: Generation, keyring: Keyring
) -> tuple[Explanation, ...]:
    """What was decided of each piece of the record of that ledger row.

    Raises UnknownEvent where the rules that decided are not known any more, KeyErased, InvalidEvent, Unavailable.
    """
    from crewmem_consumers.explain import explain as explain_event

    rules = await asyncio.to_thread(_rules, row, record.partition, reader, generation)
    await keyring.prepare([record])
    return tuple(explain_event(decode(keyring.open(record)), rules, ledger=row))


def _explained(partition: int, row: LedgerRow, spans: tuple[Explanation, ...], contents: Mapping[str, str]) -> Explained:
    made = {span.memory_id for span in spans}
    return Explained(
        partition=partition, offset=row.offset, event_id=row.ce_id, type=row.type, time=row.created_at,
        outcome=str(row.outcome), reason=row.reason, detail=None if row.type == RulesApplied.type else row.detail,
        rules_sha256=row.rules_sha256, spans=spans, contents={id: text for id, text in contents.items() if id in made},
    )  # fmt: skip


async def _record(log: EventLog, partition: int, row: LedgerRow) -> LoggedRecord:
    record = await record_at(log, Position(partition, row.offset))
    if record is None:
        raise UnknownEvent(
            f"the log has no record at {partition}/{row.offset} any more, so there is nothing to explain; "
            "`crewmem events show` tells what the ledger kept of it"
        )
    return record


def _rules(row: LedgerRow, partition: int, reader: StoreReader, generation: Generation) -> RuleSet:
    """The rules that decided that row: the default ones, a replay's, or those that the log applied before it."""
    from crewmem_consumers.rules import RuleSet, default_rules, fingerprint

    if row.rules_sha256 == default_rules().sha256:
        return default_rules()
    if generation.rules is not None and fingerprint(generation.rules) == row.rules_sha256:
        return RuleSet.parse(generation.rules, applied=True)
    end = row.offset
    while end > 0:
        start = max(end - _LOOK_BACK, 0)
        for earlier in reversed(reader.ledger(partition, start=start, limit=end - start)):
            if earlier.type == RulesApplied.type and earlier.rules_sha256 == row.rules_sha256 and earlier.detail:
                return RuleSet.parse(earlier.detail, applied=True)
        end = start
    raise UnknownEvent(
        f"the rules {row.rules_sha256} that decided it are not in the ledger; `crewmem replay` decides it anew with the newest"
    )
