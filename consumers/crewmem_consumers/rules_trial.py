"""A trial of rules: what they would make of the log, compared with the memory as it is. Nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Unpack

from crewmem_producers.codec import time_of
from crewmem_producers.errors import InvalidEvent
from crewmem_producers.events import utc_now
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.log_reading import pages
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations, search, switch
from crewmem_store.embedder import Embedder
from crewmem_store.generations import Generation
from crewmem_store.rows import LedgerRow, MemoryRow, Vector

from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.known import KnowingEmbedder, Known, rules_of
from crewmem_consumers.opening import Collaborators, Given, opened
from crewmem_consumers.rules import RuleSet
from crewmem_consumers.trial_partition import TrialPartition
from crewmem_consumers.trial_report import Tally, Trial

LEDGER_ROWS = 5_000


async def try_rules(
    settings: ConsumerSettings,
    rules: RuleSet,
    *,
    since: datetime | None = None,
    samples: int = 5,
    progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], datetime] = utc_now,
    **given: Unpack[Given],
) -> Trial:
    """Decides what the active generation has processed with these rules, partition by partition: one at a time is held in
    memory. With `since` only events of that time on are decided, and what is older is taken as it is now.

    Only texts that no memory holds are embedded, and no LLM is asked. Raises UnknownGeneration, StoreRefused, and Unavailable.
    """
    async with opened(settings, **given) as parts:
        active = generations.active(parts.registry)
        at = await switch.positions(parts.log, parts.store.reader(active.name))
        first = await parts.log.first()
        total, done = sum(at[p] - first[p] for p in at), 0
        embedder = await asyncio.to_thread(parts.embedders.of, active)
        tally = Tally(rules, samples=samples, now=clock())
        for partition, end in at.items():
            trial_of = partial(_Partition, parts, active, rules, embedder=embedder, end=end, since=since, tally=tally)
            one = await asyncio.to_thread(trial_of, partition=partition)
            await asyncio.to_thread(one.begin)
            async for records in pages(parts.log, partition, start=first[partition], end=end):
                await parts.keyring.prepare(records)
                await asyncio.to_thread(one.decide, records)
                progress(done + records[-1].offset + 1 - first[partition], total)
            done += end - first[partition]
            await asyncio.to_thread(one.compare)
        return tally.trial()


class _Nowhere:
    """Dead letters of a trial are not sent."""

    def send(self, letters: Sequence[Record]) -> None:
        del letters


class _Partition:
    """One partition's trial."""

    def __init__(
        self,
        parts: Collaborators,
        active: Generation,
        rules: RuleSet,
        *,
        embedder: Embedder,
        partition: int,
        end: int,
        since: datetime | None,
        tally: Tally,
    ) -> None:
        """What lies below `end` is decided: so far the generation is."""
        self._partition = partition
        self._end = end
        self._since = since
        self._tally = tally
        self._reader = parts.store.reader(active.name)
        self._store = TrialPartition()
        on_trial = replace(active, rules=rules.text, rules_until={str(partition): 1 << 62}, since=None)
        decided_by = rules_of(active, partition, self._reader)
        known = Known(partition=partition, fingerprint=embedder.fingerprint, reader=self._reader, rules=decided_by)
        self._ingestor = Ingestor(
            generation=on_trial, partition=partition, store=self._store, dead_letters=_Nowhere(), keyring=parts.keyring,
            embedder=KnowingEmbedder(embedder, known=known), known=known, preparer=parts.preparer,
        )  # fmt: skip

    def begin(self) -> None:
        """Takes over what is older than the trial, as it is now. Raises StoreUnavailable."""
        if self._since is None:
            return
        for batch in self._reader.scan(self._partition):
            old = [row for row in batch if row.created_at < self._since]
            scopes = {row.scope for row in old if row.scope is not None and row.text is not None}
            found = self._reader.rows(scopes, partitions=[self._partition])
            vectors = {row.id: vector for row, vector in zip(found.rows, found.matrix, strict=True)}
            self._store.take(_as_before(row, vectors.get(row.id), self._since) for row in old)

    def decide(self, records: Sequence[LoggedRecord]) -> None:
        """Raises StoreUnavailable, KeyMissing."""
        tried = [record for record in records if self._is_tried(record)]
        if tried:
            self._ingestor.process(tried)

    def compare(self) -> None:
        """Counts what was decided, and how it differs from the generation. Raises StoreUnavailable."""
        self._tally.decided(self._store.fates)
        self._tally.decided_now(self._ledger())
        now = {row.id: row for batch in self._reader.scan(self._partition) for row in batch if self._counts(row)}
        then = {row.id: row for row in self._store.rows() if self._counts(row)}
        self._tally.compare(now, then, self._store.fates)

    def _ledger(self) -> Iterator[LedgerRow]:
        start = 0
        while rows := self._reader.ledger(self._partition, start=start, limit=LEDGER_ROWS):
            yield from (row for row in rows if row.offset < self._end and self._is_of_its_time(row))
            start = rows[-1].offset + 1

    def _counts(self, row: MemoryRow) -> bool:
        """Whether it is a memory of the trial's time that a recall can give."""
        return (
            row.text is not None
            and row.offset < self._end
            and search.current(row, now=self._tally.now)
            and self._is_of_its_time(row)
        )

    def _is_of_its_time(self, row: MemoryRow | LedgerRow) -> bool:
        return self._since is None or row.created_at is None or row.created_at >= self._since

    def _is_tried(self, record: LoggedRecord) -> bool:
        if self._since is None:
            return True
        try:
            return time_of(record) >= self._since
        except InvalidEvent:
            return True  # it becomes a dead letter, whatever the rules


def _as_before(row: MemoryRow, vector: Vector | None, since: datetime) -> MemoryRow:
    """The row as it stood at that time: what has superseded it since is decided again."""
    superseded = row.superseded_at if row.superseded_at is None or row.superseded_at < since else None
    return replace(row, vector=vector, superseded_at=superseded)
