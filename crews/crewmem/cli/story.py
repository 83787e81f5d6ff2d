"""The whole story of an event: its records on the log, what each generation made of them, and what became of that since."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crewmem_producers import codec, writer
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing
from crewmem_producers.events import RulesApplied
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord, Position
from crewmem_producers.log_reading import pages, record_at

from crewmem.cli.errors import UnknownEvent
from crewmem.cli.explain import explain_spans
from crewmem.cli.letter_text import described
from crewmem.cli.memory_story import MemoryStories

if TYPE_CHECKING:
    from crewmem_store.generations import Generation
    from crewmem_store.rows import LedgerRow
    from crewmem_store.store import StoreReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a story is told from: the log, the keys, and every generation that lives with its reader."""

    log: EventLog
    keyring: Keyring
    generations: Sequence[tuple[Generation, StoreReader]]
    active: str | None
    now: datetime


_MEMORY_ID = re.compile(r"(\d{1,9})-[0-9a-f]{32}")


async def story(asked: str, *, sources: Sources) -> list[dict[str, Any]]:
    """Every record of an event id, or the one of a memory id or `<partition>/<offset>`, in the order of the log, as JSON.

    Raises UnknownEvent, LogUnavailable, StoreUnavailable, RegistryUnavailable.
    """
    positions = await _positions(asked, sources)
    told = [await _record(position, sources) for position in positions]
    if not any(one["type"] or one["headers"] or _is_told(one) for one in told):
        raise UnknownEvent(
            f"neither the log nor a ledger knows {asked}: `crewmem list --json` shows the event ids of memories, "
            "`crewmem stats` the positions that there are"
        )
    return told


def _is_told(one: Mapping[str, Any]) -> bool:
    return any(generation["outcome"] for generation in one["generations"])


async def _positions(asked: str, sources: Sources) -> list[Position]:
    position = Position.parse(asked)
    if position is not None:
        return [position] if position.partition < sources.log.partitions else []
    found: set[Position] = set()
    if (memory := _MEMORY_ID.fullmatch(asked)) is not None:
        rows = [await asyncio.to_thread(reader.get, asked) for _, reader in sources.generations]
        return sorted({Position(int(memory[1]), row.offset) for row in rows if row is not None})
    for _, reader in sources.generations:
        found |= {Position(partition, row.offset) for partition, row in await asyncio.to_thread(reader.ledger_of, asked)}
    return sorted(found | await _waiting(asked, sources))


async def _waiting(event_id: str, sources: Sources) -> set[Position]:
    """Where the event lies on the part of the log that a generation has not processed yet."""
    found: set[Position] = set()
    for partition in range(sources.log.partitions):
        last = [await asyncio.to_thread(reader.last_offset, partition) for _, reader in sources.generations]
        async for records in pages(sources.log, partition, start=min(last, default=-1) + 1):
            found |= {record.position for record in records if record.header("ce_id") == event_id}
    return found


async def _record(position: Position, sources: Sources) -> dict[str, Any]:
    record = await record_at(sources.log, position)
    if record is not None:
        await sources.keyring.prepare([record])
    generations = [await _generation(one, reader, position, record, sources) for one, reader in sources.generations]
    logged = None if record is None else codec.format_time(record.logged_at)
    return {
        "position": position._asdict(), "on_log": record is not None, "logged_at": logged,
        "event_id": record.header("ce_id") if record else None, "type": record.header("ce_type") if record else None,
        "writer": writer.as_json(writer.parse(record.header(writer.HEADER))) if record else None,
        "key": record.key.decode("utf-8", "replace") if record and record.key else None,
        "headers": described(record, keyring=sources.keyring)["headers"] if record else [],
        "body": _body(record, sources.keyring) if record else None, "generations": generations,
    }  # fmt: skip


def _body(record: LoggedRecord, keyring: Keyring) -> Any:
    """The body as JSON with its secrets taken out; what is no JSON as text, which may say why it cannot be shown."""
    from crewmem_consumers.redaction import redact_text, redact_value

    try:
        return redact_value(json.loads(codec.unpacked(keyring.open(record))))
    except (InvalidEvent, KeyErased, KeyMissing, ValueError, RecursionError):
        return redact_text(described(record, keyring=keyring)["body"])


async def _generation(
    generation: Generation, reader: StoreReader, position: Position, record: LoggedRecord | None, sources: Sources
) -> dict[str, Any]:
    found = await asyncio.to_thread(reader.ledger, position.partition, start=position.offset, limit=1)
    said: dict[str, Any] = {"generation": generation.name, "active": generation.name == sources.active}
    if not found or found[0].offset != position.offset:
        last = await asyncio.to_thread(reader.last_offset, position.partition)
        return said | {"outcome": None, "waits": position.offset > last}
    row = found[0]
    spans, why_not = await _spans(row, record, reader, generation, sources)
    memories = MemoryStories(sources.log, reader, sources.keyring, partition=position.partition, now=sources.now)
    for span in spans:
        if span.get("memory_id"):
            span["memory"] = await memories.of(span["memory_id"], row)
    return said | {
        "outcome": str(row.outcome), "waits": False, "reason": row.reason, "rules_sha256": row.rules_sha256,
        "detail": None if row.type == RulesApplied.type else row.detail, "spans": spans, "unexplained": why_not,
        "dead_letter": await asyncio.to_thread(_letter, row, reader, position.partition),
    }  # fmt: skip


async def _spans(
    row: LedgerRow, record: LoggedRecord | None, reader: StoreReader, generation: Generation, sources: Sources
) -> tuple[list[dict[str, Any]], str | None]:
    """What was decided of each piece; where that cannot be explained any more what the ledger says of it, and why."""
    if not row.spans:
        return [], None
    why_not = "the log has its record no more"
    if record is not None:
        try:
            explained = await explain_spans(row, record, reader=reader, generation=generation, keyring=sources.keyring)
            return [span.as_json() for span in explained], None
        except (UnknownEvent, KeyErased, KeyMissing, InvalidEvent) as error:
            why_not = str(error)
    return [{"span": name, **fate} for name, fate in row.spans.items()], why_not


def _letter(row: LedgerRow, reader: StoreReader, partition: int) -> dict[str, Any] | None:
    """Of a dead letter what was said of it since; blocks."""
    from crewmem_store import letter_states
    from crewmem_store.rows import Outcome

    if row.outcome is not Outcome.DEAD_LETTER:
        return None
    letters = reader.letters(partition)
    here = Position(partition, row.offset)
    facts = [one for one in letters if here in letter_states.facts([one])]
    return {
        "state": letter_states.of_ledger(letters, partition=partition)[row.offset].value,
        "facts": [{"type": fact.type, "offset": fact.offset, "event_id": fact.ce_id} for fact in facts],
    }  # fmt: skip
