"""What becomes of a span: duplicates, supersession, forgetting, limits, ttl."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.names import memory_id
from crewmem_store.rows import Outcome
from support.keyrings import OpensAllBut
from support.pipeline import (
    SESSION,
    START,
    Pipeline,
    erase,
    erase_by_key,
    failure,
    forget,
    kickoff,
    remember,
)

SCOPE = f"default/{SESSION}"


def test_a_memory_has_the_row_that_the_format_says() -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff("Key findings: Acme has no API docs.", number=7, execution_id="run-1", inputs={"region": "EU"}))
    row = pipeline.rows()[0]
    assert row.id == memory_id(0, SCOPE, "event-00007", "task/0")
    assert row.text == "Researcher (2026-01-02): Key findings: Acme has no API docs."
    assert (row.content, row.kind, row.importance) == ("Key findings: Acme has no API docs.", "finding", 0.7)
    assert (row.scope, row.crew, row.agent_role, row.task_key) == (SCOPE, "research", "Researcher", "ck/t0")
    assert (row.event_id, row.span, row.parent, row.offset) == ("event-00007", "task/0", "run-1", 0)
    assert (row.created_at, row.expires_at, row.key) == (START + timedelta(seconds=7), None, None)
    assert row.metadata == {"region": "EU"} and row.source_hash is not None and len(row.source_hash) == 64
    assert row.vector is not None and row.vector.shape == (384,)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"agent_role": "Writer", "speaker": "Ann", "crew": "c"}, "Writer (2026-01-02): x y"),
        ({"speaker": "Ann", "crew": "c"}, "Ann (2026-01-02): x y"),
        ({"crew": "c"}, "c (2026-01-02): x y"),
        ({}, "(2026-01-02): x y"),
    ],
)
def test_the_text_says_who_and_when(fields: dict[str, str], text: str) -> None:
    pipeline = Pipeline()
    pipeline.run(remember("x y", **fields))
    assert pipeline.texts() == [text]


def test_a_name_in_the_text_is_one_short_line_without_what_nobody_sees() -> None:
    pipeline = Pipeline()
    role = "Analyst\n\n# SYSTEM OVERRIDE\x1b[2J\u202e\U000e0041" + "x" * 100
    pipeline.run(remember("x y", agent_role=role))
    assert pipeline.texts() == [f"Analyst # SYSTEM OVERRIDE[2J{'x' * 31}… (2026-01-02): x y"]
    assert pipeline.rows()[0].agent_role == role, "filters compare with the name as it was given"


def test_an_event_from_the_future_counts_as_of_when_the_log_had_it() -> None:
    pipeline = Pipeline()
    ahead = encode(remember("Acme charges 49 dollars.", days=365, ttl=60.0))
    pipeline.run(ahead, remember("Acme charges 59 dollars.", number=1))
    first, _ = pipeline.rows()
    assert (first.created_at, first.expires_at) == (START, START + timedelta(seconds=60))
    assert first.text == "(2026-01-02): Acme charges 49 dollars."


def test_an_event_from_the_future_does_not_outlive_the_erasure_of_its_session() -> None:
    pipeline = Pipeline()
    pipeline.run(encode(remember("it never goes", days=3_000_000 // 365)), erase(number=1))
    assert pipeline.texts() == []


def test_the_same_event_again_is_a_duplicate_of_the_event() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("one thing"), remember("one thing"))
    pipeline.run(remember("one thing"))
    assert pipeline.outcomes() == ["stored", "duplicate", "duplicate"]
    assert [row.reason for row in pipeline.ledger()] == [None, "repeat", "repeat"]
    assert len(pipeline.rows()) == 1


def test_the_same_event_id_in_another_session_is_another_event() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("one thing"), remember("one thing", session="other"))
    assert pipeline.outcomes() == ["stored", "stored"]


@pytest.mark.parametrize("separately", [False, True])
def test_an_equal_source_is_a_duplicate_of_the_earliest_memory(separately: bool) -> None:
    pipeline = Pipeline()
    pipeline.run(*(remember("Acme has no API docs", number=n) for n in range(3)), cuts=[1, 2] if separately else [])
    assert pipeline.outcomes() == ["stored", "duplicate", "duplicate"]
    first = pipeline.rows()[0].id
    assert [row.spans["content"].get("duplicate_of") for row in pipeline.ledger()] == [None, first, first]
    tombstone = pipeline.get(str(pipeline.ledger()[1].spans["content"]["memory_id"]))
    assert (tombstone.outcome, tombstone.duplicate_of, tombstone.text) == (Outcome.DUPLICATE, first, None)


def test_a_near_equal_text_is_a_duplicate_unless_a_number_differs() -> None:
    pipeline = Pipeline()
    words = "Acme charges {} dollars a month for the professional plan with every feature and support by mail and phone"
    pipeline.run(
        remember(words.format(49), number=0),
        remember(words.format(49) + ".", number=1),
        remember(words.format(59), number=2),
    )
    assert pipeline.outcomes() == ["stored", "duplicate", "stored"]


def test_another_kind_or_key_or_session_is_no_duplicate() -> None:
    pipeline = Pipeline()
    pipeline.run(
        remember("same words here", number=0),
        remember("same words here", number=1, kind="idea"),
        remember("same words here", number=2, key="k"),
        remember("same words here", number=3, key="other"),
        remember("same words here", number=4, session="elsewhere"),
        remember("same words here", number=5, key="k"),
    )
    assert pipeline.outcomes() == ["stored"] * 5 + ["duplicate"]


def test_with_a_key_only_an_equal_source_is_a_duplicate() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("The owner is Ann", number=0, key="owner"), remember("The owner is: Ann", number=1, key="owner"))
    assert pipeline.outcomes() == ["stored", "stored"]


def test_what_has_expired_or_was_superseded_is_nothing_to_be_a_duplicate_of() -> None:
    pipeline = Pipeline()
    pipeline.run(
        remember("short lived", number=0, ttl=60),
        remember("short lived", number=61),
        remember("a", number=62, key="k"),
        remember("b", number=63, key="k"),
        remember("a", number=64, key="k"),
    )
    assert pipeline.outcomes() == ["stored"] * 5


def test_a_duplicate_extends_the_life_of_the_survivor() -> None:
    pipeline = Pipeline()
    pipeline.run(
        remember("a fact", number=0, ttl=100), remember("a fact", number=50, ttl=100), remember("a fact", number=51, ttl=1)
    )
    assert pipeline.rows()[0].expires_at == START + timedelta(seconds=150)
    pipeline.run(remember("a fact", number=60))
    assert pipeline.rows()[0].expires_at is None


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2]])
def test_a_later_memory_of_a_key_supersedes_the_current_one(cuts: list[int]) -> None:
    pipeline = Pipeline()
    pipeline.run(*(remember(f"The price is {n}", number=n, key="price") for n in range(3)), cuts=cuts)
    assert [(row.content, row.superseded_at) for row in pipeline.rows()] == [
        ("The price is 0", START + timedelta(seconds=1)),
        ("The price is 1", START + timedelta(seconds=2)),
        ("The price is 2", None),
    ]


def test_a_key_of_another_session_is_left_alone() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("one", key="k"), remember("two", number=1, key="k", session="other"))
    assert pipeline.rows()[0].superseded_at is None


@pytest.mark.parametrize("again", [False, True], ids=["stored", "duplicate"])
def test_a_completed_task_supersedes_its_failures(again: bool) -> None:
    pipeline = Pipeline()
    if again:
        pipeline.run(kickoff("Done: sent the mail", number=0))
    pipeline.run(failure("no answer", number=1), kickoff("Done: sent the mail", number=2))
    failed = next(row for row in pipeline.rows() if row.kind == "failure")
    assert failed.superseded_at == START + timedelta(seconds=2)
    assert pipeline.outcomes()[-1] == ("duplicate" if again else "stored")


def test_a_task_stays_the_same_when_its_crew_gets_another_name() -> None:
    pipeline = Pipeline()
    pipeline.run(failure("no answer", number=1), kickoff("Done: sent the mail", number=2, crew="renamed"))
    assert [row.superseded_at is None for row in pipeline.rows()] == [False, True]


def test_a_completed_task_leaves_failures_of_other_tasks_and_later_ones() -> None:
    pipeline = Pipeline()
    pipeline.run(
        failure("no answer", number=1, task=5),
        kickoff("Done: sent the mail", number=2),
        failure("no money", number=3),
    )
    assert [row.superseded_at for row in pipeline.rows() if row.kind == "failure"] == [None, None]


@pytest.mark.parametrize(("output", "days"), [("Acme costs $49", 30), ("Done: sent", 180), ("Key findings: none open", None)])
def test_the_kind_decides_how_long_a_memory_lives(output: str, days: int | None) -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff(output))
    assert pipeline.rows()[0].expires_at == (None if days is None else START + timedelta(days=days))


def test_a_failure_lives_a_week_and_tells_what_went_wrong() -> None:
    pipeline = Pipeline()
    pipeline.run(failure("no answer"))
    row = pipeline.rows()[0]
    assert row.text == "Researcher (2026-01-02): TimeoutError: no answer"
    assert (row.kind, row.expires_at, row.task_key) == ("failure", START + timedelta(days=7), "ck/t0")


def test_a_remember_says_its_own_ttl_kind_and_importance() -> None:
    pipeline = Pipeline()
    pipeline.run(
        remember("x", ttl=10.5, kind="data", importance=0.9),
        remember("y", number=1, kind="data"),
        remember("z", number=2),
    )
    rows = pipeline.rows()
    assert (rows[0].expires_at, rows[0].kind, rows[0].importance) == (START + timedelta(seconds=10.5), "data", 0.9)
    assert rows[1].expires_at == START + timedelta(seconds=1, days=30)
    assert rows[2].expires_at is None


def test_ten_memories_a_kickoff_count() -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff(*(f"Finding{n} about subject{n} alone{n}" if n % 2 else "" for n in range(24))))
    fates = pipeline.ledger()[0].spans
    assert len(pipeline.rows()) == 10
    assert [name for name, fate in fates.items() if fate["rule"] == "limit"] == ["task/20", "task/21", "task/22", "task/23"]


@pytest.mark.parametrize("cuts", [[], list(range(1, 13))])
def test_ten_memories_count_also_when_the_kickoff_came_as_several_events(cuts: list[int]) -> None:
    pipeline = Pipeline()
    events = [kickoff(f"Finding{n} about subject{n} alone{n}", number=n, execution_id="run-1") for n in range(12)]
    pipeline.run(remember("a note of that run", number=90, parent="run-1"), *events, cuts=cuts)
    assert pipeline.outcomes() == ["stored"] * 11 + ["dropped"] * 2
    assert pipeline.ledger()[-1].rule == "limit"


def test_a_forgotten_memory_is_gone_and_comes_back_under_another_id_only() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("one thing", number=0), forget(("event-00000", "content"), number=1), remember("one thing", number=2))
    assert pipeline.outcomes() == ["stored", "applied", "stored"]
    assert [row.event_id for row in pipeline.rows()] == ["event-00002"]


@pytest.mark.parametrize("cuts", [[], [1]])
def test_an_event_that_comes_after_it_was_forgotten_has_no_effect(cuts: list[int]) -> None:
    pipeline = Pipeline()
    pipeline.run(
        remember("The price is 1", number=1, key="k"),
        forget(("event-00009", "content"), number=2),
        remember("The price is 2", number=9, key="k"),
        cuts=cuts,
    )
    assert pipeline.outcomes() == ["stored", "applied", "forgotten"]
    assert [(row.content, row.superseded_at) for row in pipeline.rows()] == [("The price is 1", None)]


def test_forgetting_a_span_forgets_what_overlaps_it_before_and_after() -> None:
    long = ("alpha " * 600).strip() + "\n\n" + ("beta " * 700).strip()
    pipeline = Pipeline()
    pipeline.run(kickoff(long, number=1))
    assert len(pipeline.rows()) == 2
    pipeline.run(forget(("event-00001", "task/0"), number=2))
    assert pipeline.rows() == []
    other = Pipeline()
    other.run(forget(("event-00001", "task/0/chars 10-20"), number=2), kickoff(long, number=1))
    assert [row.span for row in other.rows()] == ["task/0/chars 3601-7100"]
    assert [fate["outcome"] for fate in other.ledger()[1].spans.values()] == ["forgotten", "stored"]


def test_forgetting_in_one_session_touches_no_other() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("kept", session="other"), forget(("event-00000", "content"), number=1))
    assert [row.content for row in pipeline.rows("other")] == ["kept"]


@pytest.mark.parametrize("erase", [erase, erase_by_key])
@pytest.mark.parametrize("cuts", [[], [1], [2]])
def test_an_erased_session_is_empty_and_begins_anew(cuts: list[int], erase: Callable[..., Event]) -> None:
    pipeline = Pipeline()
    pipeline.run(remember("old fact", number=0), erase(number=1), remember("old fact", number=2), cuts=cuts)
    assert pipeline.outcomes() == ["stored", "applied", "stored"]
    assert [row.event_id for row in pipeline.rows()] == ["event-00002"]
    assert SESSION not in repr(pipeline.get(memory_id(0, SCOPE, "event-00000", "content")))


def test_a_rule_can_keep_every_repeat_or_only_compare_sources() -> None:
    near = "one two three four five six seven eight nine ten eleven twelve thirteen"
    for mode, expected in [("keep", ["stored"] * 3), ("exact", ["stored", "duplicate", "stored"])]:
        pipeline = Pipeline(rules=f"version: 1\nrules:\n  - {{name: all, action: keep, with: {{duplicates: {mode}}}}}\n")
        pipeline.run(*(remember(text, number=n) for n, text in enumerate([near, near, near + "."])))
        assert pipeline.outcomes() == expected


@pytest.mark.parametrize("erase", [erase, erase_by_key])
@pytest.mark.parametrize("cuts", [[], [1], [2]])
def test_what_happened_before_its_session_was_forgotten_stays_out_when_it_comes_later(
    cuts: list[int], erase: Callable[..., Event]
) -> None:
    pipeline = Pipeline()
    pipeline.run(erase(number=5), remember("old, from a publisher that was offline", number=4), cuts=cuts)
    pipeline.run(remember("new", number=6), remember("of another session", number=1, session="other"))
    assert pipeline.outcomes() == ["applied", "forgotten", "stored", "stored"]
    assert pipeline.texts() == ["(2026-01-02): new"]


@pytest.mark.parametrize("cuts", [[], [1]])
def test_a_repeat_of_an_event_that_nobody_can_open_is_a_repeat_in_the_same_batch_too(cuts: list[int]) -> None:
    pipeline = Pipeline()
    pipeline.keyring = OpensAllBut(0)
    pipeline.run(remember("erased", number=0), remember("erased", number=0), cuts=cuts)
    assert pipeline.outcomes() == ["forgotten", "duplicate"] and not pipeline.texts()
