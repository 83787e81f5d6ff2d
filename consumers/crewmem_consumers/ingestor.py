"""The ingestor: records of one partition in, memories of one generation out. It knows neither Kafka nor SQLite.

It is synchronous and belongs to one thread at a time. It reads no clock and no retry count: the same records over the same
store decide the same, in whatever batches they come, after whatever crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import add, gt
from typing import TypeVar

from crewmem_producers.events import RulesApplied
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord
from crewmem_producers.names import Scope
from crewmem_store.embedder import Embedder
from crewmem_store.errors import LogMismatch
from crewmem_store.generations import Generation
from crewmem_store.rows import Outcome
from crewmem_store.store import DecidedPartition, PartitionView

from crewmem_consumers import echo, preparing, steps
from crewmem_consumers.decide import Decider
from crewmem_consumers.decode import body_bytes, decode
from crewmem_consumers.draft import Draft
from crewmem_consumers.embed import Vectors, embed
from crewmem_consumers.item import Item
from crewmem_consumers.kept_sessions import KeptSessions, SessionBudget
from crewmem_consumers.known import Known
from crewmem_consumers.letters import DeadLetters, letter
from crewmem_consumers.prepare import InProcess, Preparer
from crewmem_consumers.rules import RuleSet, default_rules
from crewmem_consumers.rules_in_force import RulesInForce
from crewmem_consumers.sessions import Session, Sessions
from crewmem_consumers.summarise import summarise

T = TypeVar("T")

MAX_RECORDS = 2_000
"""Records of one commit, at most: a commit costs about the same for one as for many."""
MAX_ROWS = 4_000
"""Rows of one commit, at most, unless one event alone has more: some 20 MB."""
STRIDE = 64
"""Texts that are embedded between two looks at whether to stop."""
MAX_BYTES = 16 * 1024 * 1024
"""Compressed bytes of one commit's records, unless one alone has more."""
MAX_BODY_BYTES = 32 * 1024 * 1024
"""Bytes that the bodies of the records of one commit unpack to, unless one alone has more."""


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of the records of one call: how many have each outcome, and the last one's offset."""

    outcomes: Counter[Outcome]
    last_offset: int


class Ingestor:
    """Decode, select, redact, summarise, embed, decide, write: for one generation and partition.

    `known` is what an older generation knows of the partition; what is taken from it would come out the same. `sessions`
    is what a process keeps of sessions, over all its partitions. `preparer` is where the work on texts is done, in this process
    and without a limit by default.
    `default_rules` is the text of a rule file for positions before the first `rules.applied`; without it the package's
    default. Raises RuleError when rules of the ledger or the generation cannot be read.
    """

    def __init__(
        self,
        *,
        generation: Generation,
        partition: int,
        store: DecidedPartition,
        embedder: Embedder,
        dead_letters: DeadLetters,
        keyring: Keyring,
        known: Known | None = None,
        sessions: SessionBudget | None = None,
        default_rules: str | None = None,
        preparer: Preparer | None = None,
        checkpoint: steps.Checkpoint = steps.no_checkpoint,
    ) -> None:
        self._partition = partition
        self._store = store
        self._embedder = embedder
        self._known = known or Known(partition=partition, fingerprint=embedder.fingerprint)
        self._vectors = Vectors(embedder)
        self._kept = KeptSessions(sessions or SessionBudget())
        self._dead_letters = dead_letters
        self._keyring = keyring
        self._preparer, self._group = preparer or InProcess(), generation.name
        self._checkpoint = checkpoint
        self._since = datetime.fromisoformat(generation.since) if generation.since else None
        self._last = store.last()
        self._rules = RulesInForce.at_start(
            generation=generation, partition=partition, newest=store.rules(), default=_default(default_rules)
        )

    def position(self) -> int:
        """The next offset to read."""
        return 0 if self._last is None else self._last.offset + 1

    def verify(self, record: LoggedRecord | None) -> None:
        """Compares the log's record just before the position (None: there is none) with the ledger's. Raises LogMismatch."""
        last = self._last
        if last is None:
            return
        if record is None or record.offset != last.offset:
            raise LogMismatch(
                f"the log has no record at {self._partition}/{last.offset}, up to which the store was made: it was wiped or "
                "shortened. `crewmem replay` builds the memory from the log as it is now."
            )
        if record.crc != last.crc:
            raise LogMismatch(
                f"the log's record at {self._partition}/{last.offset} (event {record.header('ce_id')}) is not the one that the "
                f"store was made from (event {last.ce_id}): the log was refilled. `crewmem replay` builds from it as it is now."
            )

    def process(self, records: Sequence[LoggedRecord], *, stopping: Callable[[], bool] = lambda: False) -> Processed | None:
        """Decides and writes these records, which follow the position in order; offsets may have gaps.

        Stops at the border of a stage, with nothing written of what is in hand, when `stopping` says so; what was written
        before counts. None: nothing was written. Raises StoreUnavailable, LogUnavailable and KeyMissing: call again with the
        same records.
        """
        written: list[Processed] = []
        for batch in _batches([record for record in records if record.offset >= self.position()], self._keyring):
            if not self._batch(batch, stopping, written):
                break
        if not written:
            return None
        outcomes: Counter[Outcome] = sum((one.outcomes for one in written), Counter())
        return Processed(outcomes, written[-1].last_offset)

    def idle(self) -> None:
        """Between batches: lets the store tidy up and make durable what was written."""
        self._store.maintain()

    def _batch(self, records: Sequence[LoggedRecord], stopping: Callable[[], bool], written: list[Processed]) -> bool:
        """Whether all of it was written; `written` gets what was, commit by commit."""
        items: list[Item] = []
        if self._stopped(self._reading(records, items), stopping):
            return False
        for group in _groups(items):
            if self._stopped(self._thinking(group), stopping):
                return False
            written.append(self._write(group))
        return True

    def _stopped(self, stages: Iterator[str | None], stopping: Callable[[], bool]) -> bool:
        for step in stages:
            if step is not None:
                self._checkpoint(step)
            if stopping():
                return True
        return False

    def _reading(self, records: Sequence[LoggedRecord], items: list[Item]) -> Iterator[str | None]:
        """What needs no model; `items` is filled. Yields each step that is reached."""
        yield steps.READ
        items += decode(records, keyring=self._keyring)
        yield steps.DECODED
        self._known.load(records[0].offset, records[-1].offset)
        waiting = preparing.known_alone(items, self._rules, known=self._known, since=self._since)
        for _ in preparing.prepared(waiting, self._preparer, known=self._known, group=self._group):
            yield None
        yield steps.SELECTED

    def _thinking(self, items: Sequence[Item]) -> Iterator[str | None]:
        """What may take seconds, for what an older generation does not know. Yields each step that is reached, and None where
        it may be stopped in between."""
        drafts = _drafts(items)
        new = [draft for draft in drafts if draft.compared is not None]
        yield steps.REDACTED
        for start in range(0, len(new), STRIDE):
            echo.cut(new[start : start + STRIDE], vectors=self._vectors)
            yield None
        summarise([draft for draft in drafts if not draft.text], embedder=self._embedder)
        yield steps.SUMMARISED
        present = sorted(
            (draft for draft in drafts if draft.content is not None and draft.vector is None), key=lambda draft: len(draft.text)
        )
        for start in range(0, len(present), STRIDE):
            embed(present[start : start + STRIDE], vectors=self._vectors)
            yield None
        yield steps.EMBEDDED

    def _write(self, items: Sequence[Item]) -> Processed:
        events = [item.event for item in items if item.event is not None]
        view, kept = self._view({event.scope for event in events if event.scope is not None}, {event.id for event in events})
        sessions = Sessions(view, dimensions=self._embedder.dimensions, kept=kept)
        plan = Decider(view, partition=self._partition, sessions=sessions, embedder=self._embedder.fingerprint).decide(items)
        self._checkpoint(steps.DECIDED)
        letters = [letter(item.record, item.rejection) for item in items if item.rejection is not None]
        if letters:
            self._dead_letters.send(letters)
        self._checkpoint(steps.LETTERS_SENT)
        rows = [self._known.with_summary(row) for row in plan.rows]
        self._store.commit(rows=rows, updates=plan.updates, ledger=plan.ledger)
        self._kept.keep(view, kept, sessions)
        self._last = plan.ledger[-1]
        self._rules = self._rules_after(items)
        return Processed(Counter(row.outcome for row in plan.ledger), self._last.offset)

    def _view(self, scopes: set[Scope], ce_ids: set[str]) -> tuple[PartitionView, Mapping[Scope, Session]]:
        """What the batch is decided from: sessions that are still known from the batch before are not read again."""
        kept = self._kept.take(scopes)
        view = self._store.view(scopes={str(scope) for scope in scopes - kept.keys()}, ce_ids=ce_ids)
        if not self._kept.are_true(view) and kept:
            return self._store.view(scopes={str(scope) for scope in scopes}, ce_ids=ce_ids), {}
        return view, kept

    def _rules_after(self, items: Sequence[Item]) -> RulesInForce:
        rules = self._rules
        for item in items:
            if item.event is not None and isinstance(item.event.body, RulesApplied):
                rules = rules.after(item.event.body)
        return rules


def _default(text: str | None) -> RuleSet:
    return default_rules() if text is None else RuleSet.parse(text, file="default rules")


def _batches(records: Sequence[LoggedRecord], keyring: Keyring) -> Iterator[list[LoggedRecord]]:
    """Runs of records that are decoded at once."""
    return _runs(
        records,
        weigh=lambda record: (1, len(record.value or b""), body_bytes(record, keyring=keyring)),
        most=(MAX_RECORDS, MAX_BYTES, MAX_BODY_BYTES),
    )


def _groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Runs of items that are written at once."""
    return _runs(items, weigh=lambda item: (len(_drafts([item])),), most=(MAX_ROWS,))


def _runs(things: Sequence[T], *, weigh: Callable[[T], tuple[int, ...]], most: tuple[int, ...]) -> Iterator[list[T]]:
    """The longest runs of which no sum of weights is over its limit; a thing that alone is over it is a run of its own."""
    run: list[T] = []
    sums = (0,) * len(most)
    for thing in things:
        weights = weigh(thing)
        grown = tuple(map(add, sums, weights))
        if run and any(map(gt, grown, most)):
            yield run
            run, grown = [], weights
        run.append(thing)
        sums = grown
    if run:
        yield run


def _drafts(items: Sequence[Item]) -> list[Draft]:
    return [draft for item in items if item.selection for draft in item.selection.kept]
