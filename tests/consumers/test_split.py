import pytest
from crewmem_consumers.sentences import sentences
from crewmem_consumers.split import PIECE, pieces, split
from crewmem_producers.events import KickoffCompleted, KickoffError, KickoffFailed, SessionForgotten
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipeline import event, kickoff, remember, tasks


def names(*outputs: str, raw: str = "") -> list[str]:
    return [span.name for span in split(kickoff(*outputs, raw=raw))]


def test_every_task_output_is_a_span_and_raw_only_if_it_equals_none() -> None:
    assert names("one", "two", raw="two") == ["task/0", "task/1"]
    assert names("one", "two", raw="something else") == ["task/0", "task/1", "raw"]
    assert names("one", "two", raw="") == ["task/0", "task/1"]


def test_a_kickoff_without_outputs_has_an_empty_span_to_be_judged_by() -> None:
    assert names() == ["raw"]


def test_a_remember_is_one_span_however_long() -> None:
    assert [(span.name, span.text) for span in split(remember("x " * 5000))] == [("content", "x " * 5000)]


def test_a_failure_is_the_error_and_the_tasks_done() -> None:
    error = KickoffError(type="TimeoutError", message="no answer", task_index=1)
    spans = split(event(KickoffFailed(tasks=tasks("done", ""), error=error)))
    assert [(span.name, span.text) for span in spans] == [
        ("error", "TimeoutError: no answer"), ("task/0", "done"), ("task/1", ""),
    ]  # fmt: skip
    assert spans[0].task is not None and spans[0].task.key == "t1"


def test_other_events_have_no_span() -> None:
    assert split(event(SessionForgotten())) == []


def test_a_long_output_is_cut_at_a_paragraph() -> None:
    source = "a" * 3000 + "\n\n" + "b" * 3000
    spans = split(event(KickoffCompleted(tasks=tasks(source), raw=source)))
    assert [span.name for span in spans] == ["task/0/chars 0-3002", "task/0/chars 3002-6002"]
    assert spans[1].text == "b" * 3000


def test_without_a_paragraph_it_is_cut_at_a_sentence_else_at_white_space_else_at_the_limit() -> None:
    sentence = "This one has forty characters in it now. "
    assert pieces(sentence * 200)[0] == (0, PIECE // len(sentence) * len(sentence))
    assert pieces("word " * 1000)[0] == (0, 4000)
    assert pieces("x" * 5000) == [(0, 4000), (4000, 5000)]


@settings(max_examples=200)
@given(st.text(alphabet="ab .!?\n\t。\U0001f600é", max_size=400), st.integers(min_value=1, max_value=60))
def test_pieces_cover_the_source_without_gap_or_overlap(source: str, limit: int) -> None:
    cut = pieces(source, limit)
    assert "".join(source[start:end] for start, end in cut) == source
    assert all(0 < end - start <= limit for start, end in cut) or source == ""
    assert cut[0][0] == 0 and [start for start, _ in cut[1:]] == [end for _, end in cut[:-1]]


@settings(max_examples=200)
@given(st.text(alphabet="aB1 .!?\n\"')。-", max_size=300))
def test_sentences_cover_the_text_without_gap_or_overlap(text: str) -> None:
    assert "".join(text[start:end] for start, end in sentences(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ("Dr. Smith met Acme Inc. and left. Then he slept.", ["Dr. Smith met Acme Inc. and left. ", "Then he slept."]),
        ("It costs $4.50 a day. Cheap.", ["It costs $4.50 a day. ", "Cheap."]),
        ("- first\n- second\n", ["- first\n", "- second\n"]),
        ("1. First point.\n2. Second point.", ["1. First point.\n", "2. Second point."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@pytest.mark.parametrize("unit", [" ", ".", "\n", ". ", "\n ", "'", "。"])
def test_splitting_five_megabytes_of_one_character_is_no_trap(unit: str) -> None:
    source = unit * (5_000_000 // len(unit))
    assert pieces(source)[-1][1] == len(source)
