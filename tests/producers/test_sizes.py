import logging

import pytest
from crewmem_producers.codec import body_json, decode, encode
from crewmem_producers.errors import EventTooLarge
from crewmem_producers.events import Event, KickoffCompleted, KickoffError, KickoffFailed, Recalled, TaskOutput
from crewmem_producers.limits import CUT_BYTES, INPUTS_BYTES, SPLIT_BYTES, TASKS
from crewmem_producers.names import Scope
from crewmem_producers.sizes import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import kickoff, remembered


def body(event: Event) -> KickoffCompleted:
    assert isinstance(event.body, KickoffCompleted)
    return event.body


def test_what_fits_is_left_alone() -> None:
    event = kickoff("a", "b")
    assert fit(event) == [event] and fit(event)[0] is event


def test_a_large_kickoff_becomes_one_event_per_task_output_under_one_execution_id() -> None:
    recalled = [Recalled(event_id="e", span="raw", session="s", text="known")]
    event = kickoff(
        "a" * 400_000, "b" * 400_000, "c" * 400_000,
        execution_id="x-1", crew="Research", crew_key="k", inputs={"topic": "t"}, json={"n": 1}, recalled=recalled,
        token_usage={"total": 5},
    )  # fmt: skip
    pieces = fit(event)
    assert [[task.index for task in body(piece).tasks] for piece in pieces] == [[0], [1], [2]]
    assert {body(piece).execution_id for piece in pieces} == {"x-1"}
    assert all((body(p).crew, body(p).crew_key, body(p).recalled) == ("Research", "k", recalled) for p in pieces)
    assert [bool(body(p).raw) for p in pieces] == [False, False, True]
    assert [(body(p).json_, body(p).inputs, body(p).token_usage) for p in pieces[:2]] == [(None, {}, None)] * 2
    last = body(pieces[2])
    assert (last.json_, last.inputs, last.token_usage) == ({"n": 1}, {"topic": "t"}, {"total": 5})
    assert pieces[2].id == event.id and len({piece.id for piece in pieces}) == 3
    assert all((p.scope, p.time, p.source) == (event.scope, event.time, event.source) for p in pieces)
    assert not any(body(p).truncated for p in pieces)


def test_pieces_of_a_kickoff_without_an_execution_id_get_one() -> None:
    event = kickoff("a" * 500_000, "b" * 500_000)
    assert {body(piece).execution_id for piece in fit(event)} == {event.id}


def test_only_the_last_piece_of_a_failed_kickoff_says_what_failed() -> None:
    tasks = [TaskOutput(index=0, raw="a" * 500_000), TaskOutput(index=1, raw="b" * 500_000)]
    failed = KickoffFailed(tasks=tasks, error=KickoffError(type="ValueError", message="no", task_index=2))
    pieces = fit(Event(body=failed, scope=Scope.of("default", "s")))
    assert [piece.type for piece in pieces] == ["crewmem.kickoff.completed", "crewmem.kickoff.failed"]


def test_sizes_count_as_json_before_compression() -> None:
    # 200,000 snowmen are 600 kB in UTF-8, and compress to almost nothing
    assert len(fit(kickoff("\u2603" * 200_000, "\u2603" * 200_000))) == 2


def test_a_single_output_over_ten_megabytes_is_cut_marked_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    (piece,) = fit(kickoff("start " + "x" * 11_000_000))
    assert body(piece).truncated is True
    assert body(piece).tasks[0].raw.startswith("start x") and body(piece).raw.startswith("start x")
    assert CUT_BYTES * 0.9 < len(body_json(piece.body)) <= CUT_BYTES
    assert [record.levelno for record in caplog.records] == [logging.WARNING] and piece.id in caplog.text


def test_only_the_piece_that_is_too_large_is_cut() -> None:
    pieces = fit(kickoff("small", "x" * 11_000_000, "last"))
    assert [body(piece).truncated for piece in pieces] == [False, True, False]
    assert body(pieces[0]).tasks[0].raw == "small"


def test_what_only_repeats_the_outputs_goes_first() -> None:
    (piece,) = fit(kickoff("kept", json={"rows": "x" * 11_000_000}, inputs={"a": 1}))
    assert (body(piece).json_, body(piece).tasks[0].raw, body(piece).truncated) == (None, "kept", True)


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(EventTooLarge, match="10000000"):
        fit(kickoff("x", added_later="c" * 11_000_000))
    with pytest.raises(EventTooLarge):
        fit(remembered("x", added_later="x" * 11_000_000))


def test_a_large_memory_that_is_no_kickoff_stays_one_event() -> None:
    event = remembered("x", added_later="x" * 1_000_000)
    assert fit(event) == [event]


def test_a_kickoff_of_more_tasks_than_an_event_takes_becomes_an_event_per_task() -> None:
    pieces = fit(kickoff(*(f"out {index}" for index in range(TASKS + 1))))
    assert [task.index for piece in pieces for task in body(piece).tasks] == list(range(TASKS + 1))
    assert len({body(piece).execution_id for piece in pieces}) == 1
    for piece in pieces:
        decode(encode(piece))


def test_inputs_that_no_event_takes_are_left_out_and_the_outputs_are_kept() -> None:
    (piece,) = fit(kickoff("x", inputs={"a": "i" * INPUTS_BYTES}))
    assert body(piece).inputs == {} and body(piece).truncated and body(piece).tasks[0].raw == "x"
    decode(encode(piece))


@pytest.mark.parametrize("levels", [50, 90, 97, 98, 99, 100, 101, 150])
def test_a_json_output_that_is_nested_too_deep_is_left_out_and_the_text_is_kept(levels: int) -> None:
    deep: object = "end"
    for _ in range(levels):
        deep = [deep]
    event = kickoff("x")
    body(event).tasks[0].json_ = deep
    (piece,) = fit(event)
    assert body(piece).truncated == (levels > 97) and body(piece).tasks[0].raw == "x"
    decode(encode(piece))


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["x", "\u2603", "\x00", '"', "\U0001f600"]), st.integers(0, 4_000_000)),
        min_size=1,
        max_size=4,
    )
)
def test_every_piece_fits_the_log_and_no_output_is_lost(outputs: list[tuple[str, int]]) -> None:
    event = kickoff(*(char * count for char, count in outputs))
    pieces = fit(event)
    assert [task.index for piece in pieces for task in body(piece).tasks] == list(range(len(outputs)))
    for piece in pieces:
        assert len(body_json(piece.body)) <= CUT_BYTES
        assert len(pieces) == 1 or len(body(piece).tasks) == 1
        encode(piece)
    if len(pieces) == 1 and len(outputs) > 1:
        assert len(body_json(event.body)) <= SPLIT_BYTES
