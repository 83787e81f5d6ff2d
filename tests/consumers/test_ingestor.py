"""The ingestor: every position gets one outcome, whatever comes, in whatever batches, after whatever crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from crewmem_consumers import decode as decode_module
from crewmem_consumers import ingestor as ingestor_module
from crewmem_consumers import prepare as prepare_module
from crewmem_consumers.errors import RuleError
from crewmem_consumers.sessions import Session
from crewmem_consumers.steps import STAGES, STEPS
from crewmem_producers.codec import encode
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.events import Event, EventDiscarded, EventRedriven, PositionRef
from crewmem_producers.log import Record
from crewmem_producers.names import Scope
from crewmem_store.errors import LogMismatch
from crewmem_store.rows import Outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipeline import (
    START,
    Letters,
    Pipeline,
    apply_rules,
    erase,
    failure,
    forget,
    kickoff,
    remember,
)

DROP_ALL = "version: 1\nrules:\n  - {name: nothing, action: drop}\n"
KEEP_ALL = "version: 1\nrules:\n  - {name: everything, action: keep, with: {kind: finding}}\n"


class Crash(BaseException):
    """A process that stops: nothing in it may be caught on the way."""


def with_header(record: Record, name: str, value: bytes) -> Record:
    return Record(record.key, record.value, (*((n, v) for n, v in record.headers if n != name), (name, value)))


def plain(record: Record, body: bytes | None) -> Record:
    return with_header(Record(record.key, body, record.headers), "content-encoding", b"identity")


GOOD = encode(remember("a good one", number=1))
BAD: dict[str, tuple[Record, str]] = {
    "not json": (plain(GOOD, b"{"), "not_json"),
    "wrong schema": (plain(GOOD, b'{"schema_version": 1, "tenant": "default", "session": "project_q1"}'), "wrong_schema"),
    "null body": (Record(GOOD.key, None, GOOD.headers), "null_body"),
    "binary header": (with_header(GOOD, "ce_id", b"\xff\xfe\x00"), "bad_header"),
    "no header": (Record(b"k", b"v"), "bad_header"),
    "binary header name": (with_header(GOOD, "ce_\udcff", b"\xff"), "bad_header"),
    "unknown type": (with_header(GOOD, "ce_type", b"crewmem.kickoff.imagined"), "unknown_type"),
    "future version": (plain(GOOD, b'{"schema_version": 99, "tenant": "default", "session": "project_q1"}'), "newer_schema"),
    "wrong key": (Record(b"other/key", GOOD.value, GOOD.headers), "wrong_key"),
    "not zstd": (Record(GOOD.key, b"\x00\xff" * 9, GOOD.headers), "bad_encoding"),
    "nested too deep": (
        plain(GOOD, b'{"schema_version": 1, "content": "x", "metadata": {"a": ' + b"[" * 700 + b"]" * 700 + b"}}"),
        "too_deep",
    ),
    "rules that do not parse": (encode(apply_rules("rules: [")), "invalid_rules"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_record_that_can_never_be_processed_is_a_dead_letter_and_delays_nothing_beside_it(name: str) -> None:
    bad, reason = BAD[name]
    pipeline = Pipeline()
    pipeline.run(remember("before", number=2), bad, remember("after", number=3))
    assert pipeline.outcomes() == ["stored", "dead_letter", "stored"]
    entry = pipeline.ledger()[1]
    assert (entry.reason, entry.crc) == (reason, pipeline.log[1].crc)
    assert entry.detail and entry.detail.encode(), "text that every store can hold"
    [letter] = pipeline.letters.sent
    assert (letter.key, letter.value, letter.headers[: len(bad.headers)]) == (bad.key, bad.value, bad.headers)
    said = {name: value.decode() for name, value in letter.headers[len(bad.headers) :]}
    assert said["crewmem-dlq-partition"] == "0" and said["crewmem-dlq-offset"] == "1"
    assert said["crewmem-dlq-reason"] == reason and said["crewmem-dlq-detail"]
    assert said["crewmem-dlq-time"] == "2026-01-02T03:04:05.001000Z"


def test_all_of_them_at_once_beside_good_ones() -> None:
    pipeline = Pipeline()
    events = [one for n, (bad, _) in enumerate(BAD.values()) for one in (bad, remember(f"good{n} words{n}", number=10 + n))]
    pipeline.run(*events)
    assert pipeline.outcomes() == ["dead_letter", "stored"] * len(BAD)
    assert len(pipeline.letters.sent) == len(BAD)


def test_a_record_over_which_this_program_fails_is_a_dead_letter_and_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_over(name: str, real: Any, words: str) -> None:
        def broken(event: Event, *args: Any, **how: Any) -> Any:
            if words in repr(event):
                raise RuntimeError(f"a fault in {name} \ud800")
            return real(event, *args, **how)

        monkeypatch.setattr(f"crewmem_consumers.{name}", broken)

    said: list[object] = []
    monkeypatch.setattr(decode_module.log, "exception", lambda *args: said.append(args))
    break_over("decode._check", decode_module._check, "first one")
    break_over("prepare.select", prepare_module.select, "second one")
    pipeline = Pipeline()
    pipeline.run(remember("before", number=1), remember("first one", number=2), kickoff("second one", number=3))
    pipeline.run(remember("after", number=4))
    assert pipeline.outcomes() == ["stored", "dead_letter", "dead_letter", "stored"]
    assert [row.reason for row in pipeline.ledger()[1:3]] == ["fault", "fault"]
    assert [row.detail for row in pipeline.ledger()[1:3]] == [
        "RuntimeError: a fault in decode._check ?", "RuntimeError: a fault in prepare.select ?",
    ]  # fmt: skip
    assert len(pipeline.letters.sent) == len(said) == 2


def test_memory_that_is_short_is_no_fault_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **how: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(prepare_module, "select", broken)
    pipeline = Pipeline()
    with pytest.raises(MemoryError):
        pipeline.run(kickoff("anything"))
    assert pipeline.ledger() == []


@pytest.mark.parametrize("timestamp_ms", [10**15, 10**18, -(10**17)])
def test_a_time_of_the_log_that_is_none_keeps_no_record_from_the_dead_letters(timestamp_ms: int) -> None:
    pipeline = Pipeline()
    pipeline.append(BAD["not json"][0])
    pipeline.log[0] = replace(pipeline.log[0], timestamp_ms=timestamp_ms)
    pipeline.run()
    assert pipeline.outcomes() == ["dead_letter"]
    assert dict(pipeline.letters.sent[0].headers)["crewmem-dlq-time"] == b"1970-01-01T00:00:00.000000Z"


def test_two_tasks_of_one_index_are_a_dead_letter() -> None:
    event = kickoff("one", "two")
    event.body.tasks[1].index = 0  # type: ignore[attr-defined]
    pipeline = Pipeline()
    pipeline.run(event)
    assert (pipeline.outcomes(), pipeline.ledger()[0].reason) == (["dead_letter"], "wrong_schema")


def test_rules_with_another_hash_than_they_say_are_a_dead_letter_and_not_in_force() -> None:
    event = apply_rules(DROP_ALL)
    event.body.sha256 = "0" * 64  # type: ignore[attr-defined]
    pipeline = Pipeline()
    pipeline.run(event, kickoff("Acme ships robots", number=1))
    assert pipeline.outcomes() == ["dead_letter", "stored"]


def test_a_forget_of_a_span_that_no_splitter_would_name_forgets_nothing_and_delays_nothing() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("kept", number=1), forget(("event-00001", f"content/chars 0-{'9' * 150}"), number=2))
    assert pipeline.outcomes() == ["stored", "applied"] and len(pipeline.texts()) == 1


def test_a_dead_letter_that_is_redriven_is_processed() -> None:
    pipeline = Pipeline()
    pipeline.run(BAD["future version"][0], GOOD)
    assert pipeline.outcomes() == ["dead_letter", "stored"]


def test_five_megabytes_are_one_event_like_another() -> None:
    pipeline = Pipeline()
    output = "Key findings: a sentence of five megabytes that goes on and on. " * 80_000
    pipeline.run(remember("before", number=1), kickoff(output, number=2), remember("after", number=3))
    assert pipeline.outcomes() == ["stored", "stored", "stored"]
    assert len(pipeline.ledger()[1].spans) > 1_000


def test_lone_surrogates_and_nulls_are_no_trap() -> None:
    pipeline = Pipeline()
    common = b'"schema_version": 1, "tenant": "default", "session": "project_q1"'
    body = b"{" + common + b', "content": "a\\ud800b\\u0000c", "metadata": {"x\\udfff": "\\ud83d"}}'
    pipeline.run(plain(GOOD, body))
    assert pipeline.outcomes() == ["stored"]
    repr(pipeline.rows()[0]).encode()


def test_control_events_are_applied() -> None:
    position = PositionRef(partition=0, offset=0)
    pipeline = Pipeline()
    pipeline.run(
        Event(body=EventRedriven(position=position), scope=None, id="r", time=START),
        Event(body=EventDiscarded(position=position), scope=None, id="d", time=START),
        apply_rules(KEEP_ALL),
        forget(("nothing", "content"), number=1),
        erase(number=2),
    )
    assert pipeline.outcomes() == ["applied"] * 5


def test_rules_decide_from_their_position_on_and_after_a_restart() -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff("Acme one", number=1), apply_rules(DROP_ALL), kickoff("Acme two", number=2))
    pipeline.run(kickoff("Acme three", number=3))
    pipeline.run(apply_rules(KEEP_ALL, number=9))
    pipeline.run(kickoff("Acme four", number=4))
    assert pipeline.outcomes() == ["stored", "applied", "dropped", "dropped", "applied", "stored"]
    assert [row.rule for row in pipeline.ledger()] == ["output", None, "nothing", "nothing", None, "everything"]
    assert pipeline.ledger()[2].rules_sha256 == pipeline.ledger()[1].rules_sha256
    assert pipeline.ledger()[1].detail == DROP_ALL


def test_a_replay_decides_anew_with_the_newest_rules_and_from_there_on_the_log_does() -> None:
    pipeline = Pipeline(replay=(KEEP_ALL, 3))
    pipeline.run(kickoff("Acme one", number=1), apply_rules(DROP_ALL), kickoff("Acme two", number=2))
    pipeline.run(kickoff("Acme three", number=3), apply_rules(KEEP_ALL, number=8), kickoff("Acme four", number=4))
    assert [row.rule for row in pipeline.ledger()] == ["everything", None, "everything", "nothing", None, "everything"]


def test_the_default_rules_can_be_given() -> None:
    pipeline = Pipeline(rules=DROP_ALL)
    pipeline.run(kickoff("anything"))
    assert pipeline.ledger()[0].rule == "nothing"
    with pytest.raises(RuleError, match="default rules, line 1"):
        Pipeline(rules="rules: [").ingestor()


def test_offsets_may_have_gaps() -> None:
    pipeline = Pipeline()
    pipeline.append(remember("one", number=1))
    pipeline.append(remember("two", number=2), gap=5)
    ingestor = pipeline.ingestor()
    assert ingestor.position() == 0
    result = ingestor.process(pipeline.log)
    assert result is not None and (result.last_offset, ingestor.position()) == (6, 7)
    assert result.outcomes == {Outcome.STORED: 2}
    assert [row.offset for row in pipeline.ledger()] == [0, 6]


def test_records_below_the_position_are_passed_over() -> None:
    pipeline = Pipeline()
    pipeline.append(remember("one", number=1), remember("two", number=2))
    ingestor = pipeline.ingestor()
    ingestor.process(pipeline.log)
    assert ingestor.process(pipeline.log) is None
    assert ingestor.process([]) is None


def test_the_log_that_the_store_was_made_from_is_known_again() -> None:
    pipeline = Pipeline()
    pipeline.ingestor().verify(None)
    pipeline.run(remember("one", number=1), remember("two", number=2))
    pipeline.ingestor().verify(pipeline.log[-1])


def test_a_log_that_was_wiped_shortened_or_refilled_is_refused_with_the_remedy() -> None:
    pipeline, other = Pipeline(), Pipeline()
    pipeline.run(remember("one", number=1), remember("two", number=2))
    other.append(remember("one", number=1), remember("another two", number=2))
    for record in (None, pipeline.log[0], other.log[1]):
        with pytest.raises(LogMismatch, match="crewmem replay"):
            pipeline.ingestor().verify(record)


@pytest.mark.parametrize("stop_at", STAGES[:6])
def test_told_to_stop_it_stops_at_the_border_of_a_stage_and_writes_nothing(stop_at: str) -> None:
    reached: list[str] = []
    pipeline = Pipeline(checkpoint=reached.append)
    pipeline.append(remember("one", number=1))
    ingestor = pipeline.ingestor()
    assert ingestor.process(pipeline.log, stopping=lambda: stop_at in reached) is None
    assert reached[-1] == stop_at and pipeline.ledger() == [] and ingestor.position() == 0
    assert ingestor.process(pipeline.log) is not None


def test_a_commit_has_no_more_rows_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor_module, "MAX_ROWS", 500)
    reached: list[str] = []
    pipeline = Pipeline(checkpoint=reached.append)
    outputs = [f"alpha{n} beta{n} gamma{n}" for n in range(10)]
    pipeline.run(*(kickoff(*outputs, number=n, session=f"s{n}") for n in range(60)))
    assert pipeline.outcomes() == ["stored"] * 60
    assert (reached.count("decoded"), reached.count("rows_merged")) == (1, 2)


def test_told_to_stop_between_two_commits_it_keeps_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor_module, "MAX_ROWS", 500)
    reached: list[str] = []
    pipeline = Pipeline(checkpoint=reached.append)
    pipeline.append(*(kickoff(*(f"a{n} b{n}" for n in range(10)), number=n, session=f"s{n}") for n in range(60)))
    ingestor = pipeline.ingestor()
    result = ingestor.process(pipeline.log, stopping=lambda: "ledger_written" in reached)
    assert result is not None and (result.last_offset, ingestor.position()) == (49, 50)
    assert ingestor.process(pipeline.log) is not None and len(pipeline.ledger()) == 60


def test_the_steps_come_in_the_order_in_which_they_are_listed() -> None:
    reached: list[str] = []
    pipeline = Pipeline(checkpoint=reached.append)
    pipeline.run(BAD["not json"][0], remember("one", number=2))
    assert tuple(reached) == STEPS


def test_when_the_dead_letters_cannot_be_sent_nothing_is_written() -> None:
    class Down(Letters):
        def send(self, letters: Any) -> None:
            raise LogUnavailable("no broker")

    pipeline = Pipeline()
    pipeline.letters = Down()
    pipeline.append(BAD["not json"][0], remember("one", number=2))
    ingestor = pipeline.ingestor()
    with pytest.raises(LogUnavailable):
        ingestor.process(pipeline.log)
    assert pipeline.ledger() == [] and ingestor.position() == 0


# The laws.

WORDS = st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon"])
TEXTS = st.lists(WORDS, min_size=0, max_size=3).map(" ".join)
IDS = st.integers(min_value=0, max_value=5)
SESSIONS = st.sampled_from(["one", "two"])


@st.composite
def events(draw: st.DrawFn) -> Event | Record:
    kind, number, session = draw(st.integers(0, 9)), draw(IDS), draw(SESSIONS)
    if kind <= 2:
        key = draw(st.sampled_from([None, None, "k"]))
        ttl = draw(st.sampled_from([None, None, 3.0]))
        content = draw(TEXTS) or "x"
        return remember(content, number=number, session=session, key=key, ttl=ttl, parent=draw(st.sampled_from([None, "run"])))
    if kind <= 5:
        outputs = draw(st.lists(TEXTS, max_size=3))
        recalled = draw(st.lists(TEXTS, max_size=1))
        return kickoff(
            *outputs, number=number, session=session, recalled=recalled, execution_id=draw(st.sampled_from([None, "run"]))
        )
    if kind == 6:
        one = draw(st.sampled_from([failure("no answer", number=number), kickoff("Done: sent", number=number)]))
        return replace(one, scope=Scope.of("default", session))
    if kind == 7:
        named = (f"event-{draw(IDS):05d}", draw(st.sampled_from(["content", "task/0", "task/1", "task/0/chars 0-4"])))
        return replace(forget(named, number=100 + number), scope=Scope.of("default", session))
    if kind == 8:
        return erase(number=200 + number, session=session)
    return draw(st.sampled_from([apply_rules(DROP_ALL), apply_rules(KEEP_ALL, number=1), BAD["not json"][0]]))


LOGS = st.lists(events(), min_size=1, max_size=10)


def digest_of(log: list[Event | Record], *, cuts: list[int] | None = None) -> str:
    pipeline = Pipeline()
    pipeline.run(*log, cuts=cuts or [])
    assert len(pipeline.ledger()) == len(log)
    return pipeline.digest()


@pytest.mark.parametrize(
    "log",
    [
        [remember("x", number=1, key="k"), remember("alpha", key="k"), forget(("event-00001", "content"), number=100)],
        [remember("x", ttl=3.0), remember("x", number=1, ttl=9.0), forget(("event-00000", "content"), number=100)],
        [remember("x", key="k"), forget(("event-00000", "content"), number=100), remember("alpha", number=1, key="k")],
    ],
    ids=["superseded", "extended", "superseded later"],
)
def test_what_is_forgotten_leaves_the_same_tombstone_whatever_happened_to_it_in_the_same_batch(log: list[Event]) -> None:
    assert digest_of(log) == digest_of(log, cuts=[2]) == digest_of(log, cuts=[1, 2])


@settings(max_examples=150, deadline=None)
@given(LOGS, st.sets(st.integers(min_value=1, max_value=9)))
def test_however_the_log_is_cut_into_batches_the_same_comes_out(log: list[Event | Record], cuts: set[int]) -> None:
    assert digest_of(log, cuts=sorted(cuts)) == digest_of(log)


@settings(max_examples=60, deadline=None)
@given(LOGS, st.sampled_from(STEPS), st.integers(min_value=0, max_value=3), st.sets(st.integers(min_value=1, max_value=9)))
def test_a_crash_at_any_step_and_in_any_batch_changes_nothing(
    log: list[Event | Record], step: str, times: int, cuts: set[int]
) -> None:
    left = times + 1

    def crash(name: str) -> None:
        nonlocal left
        if name == step:
            left -= 1
            if left == 0:
                raise Crash(name)

    pipeline = Pipeline(checkpoint=crash)
    pipeline.append(*log)
    try:
        pipeline.run(cuts=sorted(cuts))
    except Crash:
        pipeline.run()  # another owner, with other batches
    assert pipeline.digest() == digest_of(log)


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "control"])
def test_without_keeping_what_was_decided_a_crash_would_change_it(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the laws here: with the guard taken out the same schedule is caught."""

    def crash(name: str) -> None:
        if name == "updates_applied":
            raise Crash(name)

    log = [remember(text, number=n, key="k") for n, text in enumerate(["one", "one", "two"])]
    pipeline = Pipeline(checkpoint=crash)
    with pytest.raises(Crash):
        pipeline.run(*log)
    pipeline.checkpoint = lambda name: None
    if not guarded:
        monkeypatch.setattr(Session, "get", lambda self, id: None)
    pipeline.run()
    monkeypatch.undo()
    assert (pipeline.digest() == digest_of(list(log))) is guarded


@settings(max_examples=60, deadline=None)
@given(LOGS, st.data())
def test_an_owner_that_wakes_up_late_changes_nothing(log: list[Event | Record], data: st.DataObject) -> None:
    """It has read and decided a batch, sleeps while another owner goes on, and then writes what it decided."""
    pipeline = Pipeline()
    pipeline.append(*log)
    asleep_at = data.draw(st.integers(min_value=0, max_value=len(log) - 1))
    sleepy = pipeline.ingestor()
    if asleep_at:
        sleepy.process(pipeline.log[:asleep_at])

    def sleep(name: str) -> None:
        if name == "letters_sent":
            pipeline.checkpoint = lambda name: None
            pipeline.run()

    pipeline.checkpoint = sleep
    sleepy.process(pipeline.log[asleep_at:])
    assert pipeline.digest() == digest_of(log)
