"""Does recall find what answers a question? On LoCoMo (CREWMEM_TEST_LOCOMO names its file), through real pipeline and search.

A conversation is a session, a part of it a parent. `turns`: each turn is a memory. `outputs`: turns in a row are joined to
texts of 300 words and more, as long as a task's output, which the pipeline cuts to the embedder's window. recall@k is the
mean share of a question's evidence among the first k; category 5 (adversarial) is left out, and shown apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.codec import encode
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.names import Scope
from crewmem_store import search
from crewmem_store.embedder import Embedder
from crewmem_store.embedders import DEFAULT, open_embedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from crewmem_store.search import Question, Weights
from crewmem_store.store import Rows

OUTPUT_WORDS = 300
ADVERSARIAL = 5
NOW = datetime(2024, 1, 1, tzinfo=UTC)
ALONE = {"neighbours_short": 0.0, "neighbours_long": 0.0, "parent": 0.0, "recency": 0.0, "importance": 0.0}
WAYS = {
    "meaning alone (vector)": Weights(meaning_short=1, meaning_long=1, **ALONE),
    "words alone (BM25)": Weights(meaning_short=0, meaning_long=0, **ALONE),
    "meaning .5, words .5": Weights(meaning_short=0.5, meaning_long=0.5, **ALONE),
    "meaning and words, weight by length": Weights(**ALONE),
    "recall as it is": Weights(),
}


@dataclass(frozen=True)
class Piece:
    """One memory: the turns that it is made of."""

    text: str
    speaker: str | None
    time: datetime
    parent: str
    turns: tuple[str, ...]


@dataclass
class Corpus:
    """One conversation as the store holds it. `turns_of` names the turns behind each event."""

    rows: Rows
    turns_of: dict[str, tuple[str, ...]]
    questions: list[tuple[str, tuple[str, ...], int]]
    vectors: Any = field(default=None)


def turns(conversation: Mapping[str, Any]) -> Iterator[list[Piece]]:
    """The parts of a conversation, each a list of its turns."""
    for number in range(1, len(conversation)):
        part = conversation.get(f"session_{number}")
        if part:
            time = datetime.strptime(conversation[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
            yield [Piece(_said(turn), turn["speaker"], time, f"part-{number}", (turn["dia_id"],)) for turn in part]


def _said(turn: Mapping[str, Any]) -> str:
    caption = turn.get("blip_caption")
    return f"{turn['text']} [shares {caption}]" if caption else str(turn["text"])


def outputs(part: Sequence[Piece]) -> list[Piece]:
    """The turns of a part in a row, joined to texts of OUTPUT_WORDS words; what is left over joins the last."""
    joined: list[list[Piece]] = [[]]
    for piece in part:
        if sum(len(one.text.split()) for one in joined[-1]) >= OUTPUT_WORDS:
            joined.append([])
        joined[-1].append(piece)
    if len(joined) > 1 and sum(len(one.text.split()) for one in joined[-1]) < OUTPUT_WORDS:
        last = joined.pop()
        joined[-1] += last
    return [_joined(pieces) for pieces in joined]


def _joined(pieces: Sequence[Piece]) -> Piece:
    text = "\n".join(f"{piece.speaker}: {piece.text}" for piece in pieces)
    return replace(pieces[0], text=text, speaker=None, turns=tuple(turn for piece in pieces for turn in piece.turns))


class _NoKeys:
    """Nothing is sealed here."""

    def get(self, key: str) -> None:
        del key


class _NoLetters:
    def send(self, letters: Sequence[Record]) -> None:
        raise SystemExit(f"{len(letters)} pieces became dead letters")


def stored(pieces: Sequence[Piece], embedder: Embedder) -> tuple[Rows, dict[str, tuple[str, ...]]]:
    """The pieces as the real pipeline stores them, and the turns behind each event."""
    scope, store = Scope.of("bench", "conversation"), MemoryStore()
    generation = Generation(
        name="g1",
        embedder=embedder.name,
        embedder_fingerprint=embedder.fingerprint,
        dimensions=embedder.dimensions,
        partitions=1,
    )
    records = []
    for offset, piece in enumerate(pieces):
        body = MemoryRemembered(content=piece.text, speaker=piece.speaker, parent=piece.parent)
        record = encode(Event(body=body, scope=scope, id=f"e{offset}", time=piece.time))
        records.append(LoggedRecord(0, offset, record.key, record.value, record.headers, int(piece.time.timestamp() * 1000)))
    ingestor = Ingestor(
        generation=generation, partition=0, embedder=embedder, dead_letters=_NoLetters(),
        store=store.partition("g1", 0, dimensions=embedder.dimensions), keyring=Keyring(registry=_NoKeys()),  # type: ignore[arg-type]
    )  # fmt: skip
    ingestor.process(records)
    reader = store.reader("g1")
    turns_of = {f"e{offset}": piece.turns for offset, piece in enumerate(pieces)}
    for row in (row for offset in range(len(pieces)) for row in reader.by_event(f"e{offset}")):
        survivor = reader.get(row.duplicate_of) if row.duplicate_of else None
        if survivor is not None:  # a repeat is found where the first one is
            turns_of[survivor.event_id] += turns_of[row.event_id]
    return reader.rows([str(scope)], partitions=[0]), turns_of


def corpus(sample: Mapping[str, Any], pieces: Sequence[Piece], embedder: Embedder) -> Corpus:
    rows, turns_of = stored(pieces, embedder)
    known = {turn for found in turns_of.values() for turn in found}
    questions = [
        (str(qa["question"]), tuple(sorted(set(qa.get("evidence") or ()) & known)), int(qa["category"])) for qa in sample["qa"]
    ]
    asked = [question for question in questions if question[1]]
    return Corpus(rows, turns_of, asked, embedder.embed([text for text, *_ in asked]))


def shares(corpora: Sequence[Corpus], weights: Weights, *, top_k: int) -> dict[int, list[float]]:
    """Category -> of each of its questions, the share of its evidence among the first `top_k`."""
    found: dict[int, list[float]] = {}
    for one in corpora:
        for (text, evidence, category), vector in zip(one.questions, one.vectors, strict=True):
            hits = search.recall(one.rows, Question(text=text, vector=vector, now=NOW, top_k=top_k), weights=weights)
            got = {turn for hit in hits for turn in one.turns_of[hit.row.event_id]}
            found.setdefault(category, []).append(len(got & set(evidence)) / len(evidence))
    return found


def lines(corpora: Sequence[Corpus], top_ks: Sequence[int]) -> list[str]:
    table = []
    for name, weights in WAYS.items():
        cells = []
        for top_k in top_ks:
            found = shares(corpora, weights, top_k=top_k)
            real = [share for category, every in found.items() if category != ADVERSARIAL for share in every]
            cells.append(f"{np.mean(real):.3f}")
        cells.append(f"{np.mean(found.get(ADVERSARIAL, [np.nan])):.3f}")
        table.append(f"| {name} | {' | '.join(cells)} |")
    return table


def load(path: Path, embedder: Embedder, *, conversations: int | None) -> dict[str, list[Corpus]]:
    found: dict[str, list[Corpus]] = {"turns": [], "outputs": []}
    for sample in json.loads(path.read_text("utf-8"))[:conversations]:
        parts = list(turns(sample["conversation"]))
        found["turns"].append(corpus(sample, [piece for part in parts for piece in part], embedder))
        found["outputs"].append(corpus(sample, [piece for part in parts for piece in outputs(part)], embedder))
        print(f"{sample['sample_id']}: {len(found['turns'][-1].rows.rows)} turns", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    conversations = None if parser.parse_args().full else 2
    print("## Does recall find what answers a question?\n")
    named = os.environ.get("CREWMEM_TEST_LOCOMO")
    if not named:
        print("Not measured: CREWMEM_TEST_LOCOMO names no LoCoMo file.")
        return
    corpora = load(Path(named), open_embedder(DEFAULT), conversations=conversations)
    count = sum(len(one.questions) for one in corpora["turns"])
    print(
        f"LoCoMo, {len(corpora['turns'])} conversations, {count} questions with evidence; mean share of it among the first k."
    )
    for title, top_ks in (("turns", (5, 10)), ("outputs", (1, 3))):
        sizes = [len(row.content.split()) for one in corpora[title] for row in one.rows.rows if row.content]
        print(f"\n**{title}**: {len(sizes)} memories of {np.median(sizes):.0f} words (median)\n")
        heads = [f"recall@{top_k}" for top_k in top_ks]
        print(f"| | {' | '.join(heads)} | adversarial @{top_ks[-1]} |\n|---|{'---|' * (len(heads) + 1)}")
        print("\n".join(lines(corpora[title], top_ks)))


if __name__ == "__main__":
    main()
