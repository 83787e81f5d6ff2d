"""What an older generation made of the same events is taken over where it would come out the same, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from crewmem_consumers import memories
from crewmem_consumers.conditions import Condition
from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.known import KnowingEmbedder, known_of
from crewmem_consumers.metrics import Metrics
from crewmem_consumers.rules import default_rules
from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.log import LoggedRecord
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import MemoryRow, Vector
from crewmem_store.store import Summary
from support.keyrings import plain_keyring
from support.logged import content_of
from support.pipeline import SESSION, Letters, forget, kickoff

SCOPE = f"default/{SESSION}"
RECALLED = "Acme charges 49 dollars a seat for its team plan, and has no audit log at all."
ECHOED = "Acme charges 49 dollars a seat for its team plan and it has no audit log at all. Globex ships a roadmap in spring."


class Counting(HashingEmbedder):
    def __init__(self, *, dimensions: int = 384) -> None:
        super().__init__(dimensions=dimensions)
        self.texts: list[str] = []
        self.counted: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vector:
        self.texts += texts
        return super().embed(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.counted += texts
        return super().count_tokens(texts)


@dataclass
class Place:
    """One log, and generations that are built of it one after the other."""

    log: list[LoggedRecord] = field(default_factory=list)
    store: MemoryStore = field(default_factory=MemoryStore)
    made: list[Generation] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    def put(self, *events: Event) -> None:
        for event in events:
            record = encode(event)
            self.log.append(LoggedRecord(0, len(self.log), record.key, record.value, record.headers, 0))

    def build(self, embedder: Counting | None = None, *, rules: str | None = None) -> Counting:
        embedder = embedder or Counting()
        generation = Generation(
            name=f"g{len(self.made) + 1}", embedder="hashing", embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions, partitions=1, rules=rules, rules_until={"0": len(self.log)} if rules else {},
        )  # fmt: skip
        known = known_of(generation, 0, store=self.store, siblings=self.made, metrics=self.metrics)
        Ingestor(
            generation=generation, partition=0, dead_letters=Letters(), keyring=plain_keyring(), known=known,
            store=self.store.partition(generation.name, 0, dimensions=embedder.dimensions),
            embedder=KnowingEmbedder(embedder, known=known, metrics=self.metrics),
        ).process(self.log)  # fmt: skip
        self.made.append(generation)
        return embedder

    def rows(self, generation: str) -> list[MemoryRow]:
        return list(self.store.reader(generation).rows([SCOPE], partitions=[0]).rows)


def test_what_was_cut_as_an_echo_needs_no_model_again() -> None:
    place = Place()
    place.put(kickoff(RECALLED), kickoff(ECHOED, number=1, recalled=[RECALLED]))
    assert len(place.build().texts) > 2, "the echo's sentences were compared"
    assert place.build().texts == []
    assert [row.content for row in place.rows("g2")] == [row.content for row in place.rows("g1")]
    assert [row.content for row in place.rows("g1")][1] == "Globex ships a roadmap in spring."


def test_a_text_that_is_redacted_otherwise_is_not_taken_over() -> None:
    place, personal = Place(), "Write to jane.doe@example.org about it. " + ECHOED
    place.put(kickoff(RECALLED), kickoff(personal, number=1, recalled=[RECALLED]))
    place.build()
    rules = "version: 1\nrules:\n  - {name: all, when: 'true', action: keep, with: {redaction: personal}, why: a test}\n"
    place.build(rules=rules)
    assert "jane.doe" in (place.rows("g1")[1].content or "")
    assert "jane.doe" not in (place.rows("g2")[1].content or "")
    assert "Globex" in (place.rows("g2")[1].content or "") and "Acme" not in (place.rows("g2")[1].content or "")


LONG = " ".join(f"Finding {number}: Acme charges {number} dollars a seat for plan {number}." for number in range(60))
OTHER = " ".join(f"Result {number}: Globex ships {number} tools of its roadmap in week {number}." for number in range(60))


def test_what_the_same_program_made_of_the_same_record_is_taken_over_whole() -> None:
    place = Place()
    place.put(kickoff(LONG), kickoff("My password is hunter22x. " + OTHER, number=1))
    assert place.build().counted, "both texts were longer than the window"
    again = place.build()
    assert (again.texts, again.counted) == ([], [])
    assert [replace(row, vector=None) for row in place.rows("g2")] == [replace(row, vector=None) for row in place.rows("g1")]
    assert "hunter22x" not in (place.rows("g2")[1].content or "")


def test_what_another_program_made_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    place.put(kickoff(LONG))
    with monkeypatch.context() as patch:
        patch.setattr(memories, "made_by", lambda keep: "an older program")
        place.build()
    again = place.build()
    assert again.counted and again.texts == [], "the text came out the same, so its vector is taken over"
    assert place.rows("g1")[0].made_by != place.rows("g2")[0].made_by


def test_nothing_is_taken_over_from_another_record_of_the_same_event() -> None:
    place = Place()
    place.put(kickoff(content_of(1)))
    place.build()
    place.log.clear()
    place.put(kickoff(content_of(2)))
    assert len(place.build().texts) == 1
    assert [row.content for row in place.rows("g2")] == [content_of(2)]


def test_what_the_rule_shortens_otherwise_is_shortened_again() -> None:
    place = Place()
    place.put(kickoff(LONG))
    place.build()
    rules = "version: 1\nrules:\n  - {name: all, when: 'true', action: keep, with: {summary: lead}, why: a test}\n"
    place.build(rules=rules)
    [first], [second] = place.rows("g1"), place.rows("g2")
    assert first.text != second.text
    assert "Finding 0:" in (second.text or "")


def test_an_llm_summary_of_the_same_text_is_there_from_the_start() -> None:
    place = Place()
    place.put(kickoff(content_of(1)), kickoff(content_of(2), number=1))
    place.build()
    [first, _] = place.rows("g1")
    place.store.partition("g1", 0, dimensions=384).set_summaries([Summary(first.id, "in short", "llm-small")])
    place.build(Counting(dimensions=64))
    found = [(row.summary, row.summariser) for row in place.rows("g2")]
    assert found == [("in short", "llm-small"), (None, "extract-1")], "a summary is of the text, whatever embeds it"


def test_vectors_of_another_embedder_are_none_of_ours_and_those_of_an_older_generation_of_ours_are() -> None:
    place = Place()
    place.put(kickoff(content_of(1)))
    place.build()
    assert len(place.build(Counting(dimensions=64)).texts) == 1
    assert place.build().texts == [], "g1 has them"
    assert (place.metrics.vectors_from("model"), place.metrics.vectors_from("generation")) == (2, 1)


def test_what_was_forgotten_is_not_known() -> None:
    place, gone = Place(), kickoff(content_of(1))
    place.put(gone)
    place.put(forget((gone.id, "task/0"), number=5))
    place.build()
    assert len(place.build().texts) == 1
    assert place.rows("g2") == []


OTHER_RULES = default_rules().text.replace(
    "rules:\n", "rules:\n  - {name: founders, why: a test, when: \"text.contains('founded')\", action: drop}\n", 1
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conditions that CEL is asked, in turn."""
    asked: list[str] = []
    real = Condition.holds
    monkeypatch.setattr(Condition, "holds", lambda self, context: asked.append(self.source) or real(self, context))
    return asked


def test_after_a_change_of_rules_only_what_is_new_in_them_is_asked(asked: list[str]) -> None:
    place = Place()
    place.put(kickoff("Acme charges 49 dollars a seat."), kickoff("Bolt was founded by two sisters.", number=1))
    place.build()
    asked.clear()
    place.build(rules=OTHER_RULES)
    assert asked == ["text.contains('founded')"] * 2
    assert [row.event_id for row in place.rows("g2")] == [place.rows("g1")[0].event_id]
    asked.clear()
    place.build(rules=OTHER_RULES)
    assert asked == ["text.contains('founded')"], "what was dropped left no memory to go by"


def test_what_another_program_found_out_is_asked_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    place.put(kickoff("Acme charges 49 dollars a seat."))
    with monkeypatch.context() as patch:
        patch.setattr(memories, "made_by", lambda keep: "an older program")
        place.build()
    before = list(asked)
    asked.clear()
    place.build()
    assert asked == before != []


def test_what_was_found_of_another_record_or_beside_a_rule_that_failed_is_asked_again(asked: list[str]) -> None:
    failing = "version: 1\nrules:\n  - {name: odd, when: \"inputs.topic == 'x'\", action: drop, why: a test}\n" + (
        "  - {name: all, when: 'true', action: keep, why: a test}\n"
    )
    place = Place()
    place.put(kickoff("Acme charges 49 dollars a seat."))
    place.build(rules=failing)
    asked.clear()
    place.build(rules=failing)
    assert asked == ["inputs.topic == 'x'", "true"]
    place.log.clear()
    place.put(kickoff("Acme charges 59 dollars a seat."))
    asked.clear()
    place.build()
    assert len(asked) > 1
