"""The end of a run: what log, ledgers and stores hold, against what was acknowledged and what must have become of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

from chaos.abuse import is_of_abuser
from chaos.expected import Expected, Memory, Reader
from chaos.findings import BACK, DIGEST, DOUBLED, LEAKED, LOST, OPEN, WRONG, Findings
from chaos.workload import owner_of
from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.codec import decode
from crewmem_producers.errors import InvalidEvent, KeyErased
from crewmem_producers.events import Event
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.log_reading import pages
from crewmem_producers.names import Scope
from crewmem_store.accounting import verify
from crewmem_store.digest import digest
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import StoreReader
from processes.harness import NoLetters

Records = Mapping[int, list[LoggedRecord]]
"""The whole log: partition -> its records in order."""


BATCH = 500
"""Records that a clean replay takes at once."""


async def whole_log(log: EventLog) -> Records:
    return {number: [one async for page in pages(log, number) for one in page] for number in range(log.partitions)}


def expected(records: Records, generation: Generation, keyring: Keyring) -> Expected:
    reader = Reader(generation, keyring)
    for partition, logged in records.items():
        reader.partition(partition, logged)
    return reader.found


def events(records: Records, keyring: Keyring) -> Iterator[Event]:
    """Everything that can be read."""
    for record in itertools.chain(*records.values()):
        with contextlib.suppress(InvalidEvent, KeyErased):
            yield decode(keyring.open(record))


def check_arrival(acknowledged: set[str], wanted: Expected, findings: Findings) -> None:
    """What `publish()` acknowledged is on the log."""
    for event_id in sorted(acknowledged - wanted.events):
        findings.add(LOST, f"{event_id} was acknowledged and is not on the log")


def check_unreadable(wanted: Expected, erased: Mapping[str, datetime | None], findings: Findings) -> None:
    """Only what happened before the end of an erasure of its session cannot be opened. `erased`: record key -> that end."""
    for place, record in wanted.unreadable.items():
        key, time = record.scope_key, datetime.fromisoformat(record.header("ce_time") or "")
        end = erased.get(key)
        if key not in erased or (end is not None and time > end):
            findings.add(LOST, f"{place}, {record.header('ce_id')} of {time}, cannot be opened: erased was {end}")


def check_generation(name: str, reader: StoreReader, wanted: Expected, *, partitions: int, findings: Findings) -> None:
    """Every position has its one outcome, every memory its one row, and nothing that is forgotten has text."""
    ledger: Counter[tuple[int, int]] = Counter()
    rows: Counter[str] = Counter()
    live: dict[Memory, MemoryRow] = {}
    for partition in range(partitions):
        for entry in _ledger(reader, partition):
            place = (partition, entry.offset)
            ledger[place] += 1
            if entry.outcome.value not in wanted.outcomes.get(place, ()):
                right = " or ".join(sorted(wanted.outcomes.get(place, ()))) or "nothing: the log has no such position"
                findings.add(WRONG, f"{name} {place}: {entry.outcome.value}, not {right}")
        for batch in reader.scan(partition):
            for row in batch:
                rows[row.id] += 1
                if row.text is not None and not is_of_abuser(row.scope or ""):
                    live[row.scope or "", row.event_id, row.span] = row
    _count(name, ledger, rows, wanted, findings)
    _compare(name, live, wanted, findings)


def _count(
    name: str, ledger: Counter[tuple[int, int]], rows: Counter[str], wanted: Expected, findings: Findings
) -> None:  # fmt: skip
    for place in sorted(wanted.outcomes.keys() - ledger.keys()):
        findings.add(LOST, f"{name}: {place} of the log has no outcome")
    for what, count in (*ledger.items(), *rows.items()):
        if count > 1:
            findings.add(DOUBLED, f"{name}: {what} is there {count} times")


def _compare(name: str, live: dict[Memory, MemoryRow], wanted: Expected, findings: Findings) -> None:
    for memory in sorted(wanted.live.keys() - live.keys()):
        findings.add(LOST, f"{name}: {memory} cannot be recalled")
    for memory in sorted(live.keys() - wanted.live.keys()):
        kind = BACK if wanted.is_gone(memory) else WRONG
        findings.add(kind, f"{name}: {memory} has the text {live[memory].text!r}")
    for memory, row in live.items():
        scope = Scope.parse(memory[0])
        if owner_of(row.content or "") != (scope.tenant, scope.session):
            findings.add(LEAKED, f"{name}: {memory} has the text {row.text!r}")
    for memory in live.keys() & wanted.live.keys():
        row = live[memory]
        if row.content != wanted.live[memory]:
            findings.add(WRONG, f"{name}: {memory} says {row.content!r}")
        if (row.superseded_at is not None) != (memory in wanted.superseded):
            findings.add(WRONG, f"{name}: {memory} superseded at {row.superseded_at}")


def _ledger(reader: StoreReader, partition: int) -> Iterator[LedgerRow]:
    start = 0
    while page := reader.ledger(partition, start=start, limit=20_000):
        yield from page
        start = page[-1].offset + 1


async def check_account(
    log: EventLog, reader: StoreReader, generation: Generation, keyring: Keyring, findings: Findings
) -> None:  # fmt: skip
    verified = await verify(log, reader, generation, keyring=keyring)
    for misfit in verified.misfits:
        findings.add(OPEN, f"{generation.name}: {misfit}")
    if not verified.closes and not verified.misfits:
        findings.add(OPEN, f"{generation.name}: {verified.counts}")


async def check_digest(
    records: Records, reader: StoreReader, generation: Generation, keyring: Keyring, findings: Findings
) -> str:  # fmt: skip
    """The generation's digest, which is that of one undisturbed consumer over the same log with the same configuration."""
    found = await asyncio.to_thread(digest, reader, partitions=generation.partitions)
    clean = await asyncio.to_thread(_clean, records, generation, keyring)
    if found != clean:
        findings.add(DIGEST, f"{generation.name}: {found}, a clean replay gives {clean}")
    return f"{found.hex[:16]} over {found.rows} memories"


def _clean(records: Records, generation: Generation, keyring: Keyring) -> object:
    store = MemoryStore()
    for partition, logged in records.items():
        ingestor = Ingestor(
            generation=generation, partition=partition, embedder=HashingEmbedder(), dead_letters=NoLetters(), keyring=keyring,
            store=store.partition(generation.name, partition, dimensions=generation.dimensions),
        )  # fmt: skip
        for start in range(0, len(logged), BATCH):
            ingestor.process(logged[start : start + BATCH])
    return digest(store.reader(generation.name), partitions=generation.partitions)
