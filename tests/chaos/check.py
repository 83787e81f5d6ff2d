"""The end of a run: what log, ledgers and stores hold, against what was acknowledged and what must have become of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.expected import Expected, Memory, Reader
from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, LoggedRecord, Record
from crewmem_store.accounting import verify
from crewmem_store.digest import digest
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.lance import LanceStore
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.store import StoreReader

LOST, DOUBLED, LEAKED, BACK, UNSEEN = "lost", "doubled", "leaked", "forgotten text back", "not seen"
WRONG, OPEN, DIGEST, DIED = "decided otherwise", "account does not close", "digest differs", "died by itself"
KINDS = (LOST, DOUBLED, LEAKED, BACK, UNSEEN, WRONG, OPEN, DIGEST, DIED)


@dataclass
class Findings:
    """What was found wrong: how often, and the first of each kind in words."""

    counts: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    shown: int = 20

    def add(self, kind: str, says: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= self.shown:
            self.said.append(f"{kind}: {says}")


async def whole_log(log: EventLog) -> dict[int, list[LoggedRecord]]:
    """Every record, by partition."""
    found: dict[int, list[LoggedRecord]] = {}
    for partition in range(log.partitions):
        found[partition] = records = []
        while more := await log.read(partition, records[-1].offset + 1 if records else 0):
            records += more
    return found


def expected(records: dict[int, list[LoggedRecord]], generation: Generation, keyring: Keyring) -> Expected:
    reader = Reader(generation, keyring)
    for partition, logged in records.items():
        reader.partition(partition, logged)
    return reader.found


def check_arrival(acknowledged: set[str], wanted: Expected, findings: Findings) -> None:
    """What `publish()` acknowledged is on the log."""
    for event_id in sorted(acknowledged - wanted.events):
        findings.add(LOST, f"{event_id} was acknowledged and is not on the log")


def check_generation(name: str, reader: StoreReader, wanted: Expected, *, partitions: int, findings: Findings) -> None:
    """Every position has its one outcome, every memory its one row, and nothing that is forgotten has text."""
    ledger: Counter[tuple[int, int]] = Counter()
    rows: Counter[str] = Counter()
    live: dict[Memory, MemoryRow] = {}
    for partition in range(partitions):
        for entry in _ledger(reader, partition):
            place = (partition, entry.offset)
            ledger[place] += 1
            if wanted.outcomes.get(place) != entry.outcome.value:
                findings.add(WRONG, f"{name} {place}: {entry.outcome.value}, not {wanted.outcomes.get(place)}")
        for batch in reader.scan(partition):
            for row in batch:
                rows[row.id] += 1
                if row.text is not None:
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
        kind = BACK if memory in wanted.forgotten else WRONG
        findings.add(kind, f"{name}: {memory} has the text {live[memory].text!r}")
    for memory in live.keys() & wanted.live.keys():
        row = live[memory]
        if row.content != wanted.live[memory]:
            findings.add(WRONG, f"{name}: {memory} says {row.content!r}")
        if (row.superseded_at is not None) != (memory in wanted.superseded):
            findings.add(WRONG, f"{name}: {memory} superseded at {row.superseded_at}")


def _ledger(reader: StoreReader, partition: int) -> list[LedgerRow]:
    found: list[LedgerRow] = []
    while more := reader.ledger(partition, start=found[-1].offset + 1 if found else 0, limit=20_000):
        found += more
    return found


async def check_account(
    log: EventLog, reader: StoreReader, generation: Generation, keyring: Keyring, findings: Findings
) -> None:  # fmt: skip
    verified = await verify(log, reader, generation, keyring=keyring)
    for misfit in verified.misfits:
        findings.add(OPEN, f"{generation.name}: {misfit}")
    if not verified.closes and not verified.misfits:
        findings.add(OPEN, f"{generation.name}: {verified.counts}")


async def check_digest(
    folder: Path, records: dict[int, list[LoggedRecord]], reader: StoreReader, generation: Generation, keyring: Keyring,
    findings: Findings,
) -> str:  # fmt: skip
    """The generation's digest, which is that of one undisturbed consumer over the same log with the same configuration."""
    found = await asyncio.to_thread(digest, reader, partitions=generation.partitions)
    clean = await asyncio.to_thread(_clean, folder, records, generation, keyring)
    if found != clean:
        findings.add(DIGEST, f"{generation.name}: {found}, a clean replay gives {clean}")
    return f"{found.hex[:16]} over {found.rows} memories"


def _clean(folder: Path, records: dict[int, list[LoggedRecord]], generation: Generation, keyring: Keyring) -> object:
    store = LanceStore(str(folder))
    store.open(namespace="clean")
    try:
        for partition, logged in records.items():
            opened = store.partition(generation.name, partition, dimensions=generation.dimensions)
            ingestor = Ingestor(
                generation=generation, partition=partition, store=opened, embedder=HashingEmbedder(),
                dead_letters=_NoLetters(), keyring=keyring,
            )  # fmt: skip
            ingestor.process(logged)
            opened.close()
        return digest(store.reader(generation.name), partitions=generation.partitions)
    finally:
        store.close()


class _NoLetters:
    """Dead letters of a clean replay are not looked at."""

    def send(self, letters: Sequence[Record]) -> None:
        del letters
