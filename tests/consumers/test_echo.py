"""Echo: a crew that restates what it was given adds nothing to the memory."""

from datetime import timedelta

import pytest
from crewmem.recall_block import make_block
from crewmem_store import context
from support.pipeline import START, Pipeline, failure, kickoff, remember

FACT = "Researcher (2026-01-01): Acme charges 49 dollars a month for the professional plan. It has no API documentation."


def test_sentences_that_repeat_a_recalled_memory_are_cut_from_content_and_text() -> None:
    pipeline = Pipeline()
    said = "Acme charges 49 dollars a month for the professional plan. Globex opened an office in Lisbon."
    pipeline.run(kickoff(said, recalled=[FACT]))
    row = pipeline.rows()[0]
    assert row.content == "Globex opened an office in Lisbon."
    assert row.text == "Researcher (2026-01-02): Globex opened an office in Lisbon."


def test_a_span_of_which_nothing_is_left_is_dropped_by_echo() -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff("- It has NO api documentation!\n---\n", recalled=[FACT]))
    entry = pipeline.ledger()[0]
    assert (entry.outcome.value, entry.rule, pipeline.rows()) == ("dropped", "echo", [])
    assert entry.spans["task/0"]["rule"] == "echo"


def test_close_words_are_an_echo_and_another_number_is_not() -> None:
    pipeline = Pipeline()
    close = "The Acme company charges 49 dollars a month for the professional plan for each and every seat that a team takes"
    other = close.replace("49", "59")
    pipeline.run(kickoff(close + ", always.", recalled=[close + "."]), kickoff(other, recalled=[close], number=1))
    assert pipeline.outcomes() == ["dropped", "stored"]


def test_a_memory_of_another_session_is_nothing_to_echo() -> None:
    pipeline = Pipeline()
    event = kickoff("It has no API documentation.", recalled=[FACT])
    event.body.recalled[0].session = "elsewhere"  # type: ignore[attr-defined]
    pipeline.run(event)
    assert pipeline.outcomes() == ["stored"]


@pytest.mark.parametrize("form", ["- {text}", "* **{text}**", "1. {content}", "> {content}", "{crew}", "{service}"])
def test_a_memory_is_known_in_every_form_in_which_agents_see_it(form: str) -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff("Acme charges 49 dollars a month. Globex opened an office in Lisbon."))
    row, now = pipeline.rows()[0], START + timedelta(days=5)
    memory = {"text": row.text, "created_at": row.created_at.isoformat(), "agent_role": row.agent_role, "score": 1.0}
    made = make_block([memory], now=now, top_k=5, max_tokens=500)
    assert made is not None
    forms = {
        "text": row.text,
        "content": row.content,
        "crew": made.text,
        "service": f"{context.HEAD}\n{context.line(row, now=now)}",
    }
    pipeline.run(kickoff(form.format(**forms), recalled=[made.memories[0]["shown"]], number=1))
    assert pipeline.outcomes() == ["stored", "dropped"]


def test_a_heading_goes_with_the_lines_that_it_introduced() -> None:
    pipeline = Pipeline()
    said = "A plan, each step resting on a fact:\n\n1. It has no API documentation.\n2. Acme charges 49 dollars a month."
    facts = ["It has no API documentation.", "Acme charges 49 dollars a month."]
    pipeline.run(kickoff(said, recalled=facts), kickoff(said + "\nNew:\n- A fact.", recalled=facts, number=1))
    assert pipeline.outcomes() == ["dropped", "stored"]
    assert pipeline.rows()[0].content == "New:\n- A fact."


def test_what_was_recalled_is_no_echo_of_a_failure() -> None:
    pipeline = Pipeline()
    event = failure("no answer")
    pipeline.run(event)
    assert pipeline.outcomes() == ["stored"]


def run(pipeline: Pipeline, number: int, *, new: str) -> int:
    """One run of a crew whose LLM restates its backstory, memory block included; how many memories there are then."""
    memories = [
        {"text": row.text, "created_at": row.created_at.isoformat(), "agent_role": row.agent_role} for row in pipeline.rows()
    ]
    made = make_block(memories, now=START + timedelta(days=number), top_k=8, max_tokens=600)
    shown = [memory["shown"] for memory in made.memories] if made else []
    backstory = f"You are a researcher of the market.\n\n{made.text if made else ''}"
    pipeline.run(kickoff(f"{backstory}\n\n{new}", recalled=shown, number=number, days=number))
    return len(pipeline.rows())


def test_fifty_runs_of_a_crew_that_restates_its_backstory_leave_no_more_memories_than_three() -> None:
    pipeline = Pipeline()
    pipeline.run(remember("Globex opened an office in Lisbon."))
    counts = [run(pipeline, number, new="Acme has no API documentation.") for number in range(1, 51)]
    assert counts[-1] <= counts[2] <= 4
