"""What an older generation made of the same events: it is taken over where it would come out the same."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from crewmem_producers.events import Event, KickoffCompleted
from crewmem_producers.names import memory_id
from crewmem_store.embedder import Embedder
from crewmem_store.errors import StoreDamaged
from crewmem_store.generations import Generation
from crewmem_store.rows import MemoryRow, Vector
from crewmem_store.store import Made, Store, StoreReader

from crewmem_consumers.draft import Draft
from crewmem_consumers.errors import RuleError
from crewmem_consumers.fingerprint import is_of_this_program, made_by
from crewmem_consumers.item import Item
from crewmem_consumers.metrics import Metrics
from crewmem_consumers.rules import RuleSet, Truths, default_rules
from crewmem_consumers.split import Span

log = logging.getLogger("crewmem.consumer")

WINDOW = 2_000
"""Positions that are read at once, and of which what was made is held: some 10 to 20 MB."""


class Known:
    """Looks things up in one older generation, as its partition is walked; without one it knows nothing. Belongs to one
    worker."""

    def __init__(
        self,
        *,
        partition: int,
        fingerprint: str,
        reader: StoreReader | None = None,
        rules: Iterable[RuleSet] = (),
        metrics: Metrics | None = None,
    ) -> None:
        """`fingerprint` is that of the embedder in use: vectors, and what was decided by them, are taken from no other.
        `rules` are those by which the older generation was decided; `metrics` counts the vectors."""
        self._partition = partition
        self._fingerprint = fingerprint
        self._reader = reader
        self._rules = {one.sha256: one for one in rules}
        self._metrics = metrics
        self._covered = range(0)
        self._made: dict[str, Made] = {}
        self._vectors: dict[str, Vector] = {}

    def load(self, first: int, last: int) -> None:
        """Has at hand what is known of these positions; nothing, from now on, where the older generation is damaged. Blocks.
        Raises StoreUnavailable."""
        if self._reader is None or (first in self._covered and last in self._covered):
            return
        self._covered = range(0)  # until it is read: a read that fails is repeated
        try:
            covered, found = self._read(self._reader, first, max(last + 1, first + WINDOW))
        except StoreDamaged as error:
            log.warning("nothing is taken over from the generation before in partition %d: %s", self._partition, error)
            self._reader, covered, found = None, range(0), ()
        self._covered = covered
        self._made = {one.id: one for one in found}
        self._vectors = {
            one.text: one.vector for one in found if one.embedder == self._fingerprint and one.vector is not None
        }  # fmt: skip

    def _read(self, reader: StoreReader, first: int, end: int) -> tuple[range, Sequence[Made]]:
        """The positions that are covered, and what was made of them. What the older generation has not come to yet is none of
        them: for that it is asked again."""
        covered = range(first, min(end, reader.last_offset(self._partition) + 1))
        return covered, reader.made(self._partition, start=first, end=end) if covered else ()

    def vector(self, text: str) -> Vector | None:
        """The vector of the text, of the embedder in use."""
        return self._vectors.get(text)

    def truths_of(self, event: Event, crc: int) -> Callable[[Span], Truths]:
        """What the same program found of rules' conditions over the spans of the same record, as far as one can tell."""

        def truths(span: Span) -> Truths:
            made = self._made.get(memory_id(self._partition, str(event.scope), event.id, span.name))
            if made is None or made.judged is None or made.judged.crc != crc or not is_of_this_program(made.made_by):
                return {}
            fate = made.judged.spans.get(made.span, {})
            rules = self._rules.get(made.judged.rules_sha256 or "")
            return {} if rules is None or "errors" in fate else rules.truths(fate.get("rule", ""))

        return truths if self._made else _nothing

    def made_by(self, event: Event, crc: int, span: Span) -> str | None:
        """The fingerprint with which `fill` takes over the content of the span, when the rule that keeps it has the same."""
        made = self._made.get(memory_id(self._partition, str(event.scope), event.id, span.name)) if self._made else None
        if made is None or made.content is None or made.judged is None or made.judged.crc != crc:
            return None
        return made.made_by if self._is_independent(made, event) else None

    def _is_independent(self, made: Made, event: Event) -> bool:
        """Whether no vector of another embedder decided what was cut of it as an echo."""
        return made.embedder == self._fingerprint or not isinstance(event.body, KickoffCompleted) or not event.body.recalled

    def fill(self, items: Sequence[Item]) -> None:
        """Fills in, of each draft, what was made of the same record by the same program under the same rule: `content` and
        `source_hash`, and with the same embedder `extract`, `text` and `vector`."""
        if not self._made:
            return
        kept = [(item.crc, item.selection.kept) for item in items if item.selection is not None and item.selection.kept]
        for crc, drafts in kept:
            for draft in drafts:
                self._fill(draft, crc)
        if self._metrics is not None:
            self._metrics.vectors(embedded=0, reused=sum(draft.vector is not None for _, drafts in kept for draft in drafts))

    def _fill(self, draft: Draft, crc: int) -> None:
        made = self._made.get(memory_id(self._partition, str(draft.event.scope), draft.event.id, draft.span.name))
        if made is None or made.judged is None or made.judged.crc != crc or made.made_by != made_by(draft.decision.keep):
            return
        if made.embedder == self._fingerprint:
            draft.content, draft.source_hash = made.content, made.source_hash
            prefix = draft.prefix
            if made.vector is not None and made.text.startswith(prefix):
                draft.extract, draft.text = made.text[len(prefix) :], made.text
                draft.vector = made.vector.copy()  # who keeps it must not keep the window alive
        elif self._is_independent(made, draft.event):
            draft.content, draft.source_hash = made.content, made.source_hash

    def with_summary(self, row: MemoryRow) -> MemoryRow:
        """The row with the LLM summary of the same memory, if its text is the same."""
        made = self._made.get(row.id)
        if made is None or made.summary is None or (made.text, made.content) != (row.text, row.content):
            return row
        return replace(row, summary=made.summary, summariser=made.summariser)


def _nothing(span: Span) -> Truths:
    del span
    return {}


def known_of(
    generation: Generation,
    partition: int,
    *,
    store: Store,
    siblings: Sequence[Generation],
    metrics: Metrics | None = None,
) -> Known:
    """What the newest older generation knows, preferably one with the same embedder. A newer one is not asked: the
    generation that answers must never wait for one that is being built."""
    older = [one for one in siblings if _number(one) < _number(generation) and one.partitions == generation.partitions]
    fingerprint = generation.embedder_fingerprint
    best = max(older, key=lambda one: (one.embedder_fingerprint == fingerprint, _number(one)), default=None)
    if best is None:
        return Known(partition=partition, fingerprint=fingerprint)
    reader = store.reader(best.name)
    try:
        rules = rules_of(best, partition, reader)
    except StoreDamaged as error:
        log.warning("nothing is taken over from %s in partition %d: %s", best.name, partition, error)
        return Known(partition=partition, fingerprint=fingerprint)
    return Known(partition=partition, fingerprint=fingerprint, reader=reader, rules=rules, metrics=metrics)


def rules_of(generation: Generation, partition: int, reader: StoreReader) -> list[RuleSet]:
    """Rules by which it decided the partition: those that it was built with, the newest that were applied since, and the
    default ones. Raises StoreUnavailable."""
    applied = reader.rules(partition)
    found = [default_rules()]
    for text in (generation.rules, applied and applied.detail):
        with contextlib.suppress(RuleError):  # this program does not understand them any more: it asks by itself
            found += [RuleSet.parse(text, applied=True)] if text else []
    return found


class KnowingEmbedder:
    """An embedder that asks the model only for texts whose vector is not known; else just the same."""

    def __init__(self, embedder: Embedder, *, known: Known, metrics: Metrics | None = None) -> None:
        """`metrics` counts vectors by where they came from."""
        self._embedder = embedder
        self.name = embedder.name
        self.dimensions = embedder.dimensions
        self.window_tokens = embedder.window_tokens
        self.fingerprint = embedder.fingerprint
        self._known = known
        self._metrics = metrics

    def embed(self, texts: Sequence[str]) -> Vector:
        """float32 of shape (len(texts), dimensions), each row L2-normalised, in the order of `texts`."""
        matrix = np.empty((len(texts), self.dimensions), dtype=np.float32)
        unknown = []
        for place, text in enumerate(texts):
            vector = self._known.vector(text)
            if vector is None:
                unknown.append(place)
            else:
                matrix[place] = vector
        if unknown:
            matrix[unknown] = self._embedder.embed([texts[place] for place in unknown])
        if self._metrics is not None:
            self._metrics.vectors(embedded=len(unknown), reused=len(texts) - len(unknown))
        return matrix

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


def _number(generation: Generation) -> int:
    return int(generation.name[1:])
