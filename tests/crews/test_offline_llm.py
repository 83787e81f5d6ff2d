"""The stand-in for a model: the same answer every time, and nothing in it that its prompt does not hold."""

import subprocess
import sys

from crewmem.named_model import NamedModel, named_model
from crewmem.offline_llm import NOTHING_NEW, OfflineLLM, answer, choose_llm, facts, holds
from crewmem.recall_block import HEADING
from hypothesis import given
from hypothesis import strategies as st

SOURCES = "Look into prices\nSources:\n- Acme charges 49 dollars.\n- Globex charges 19 dollars."


def test_research_reports_the_facts_that_memory_does_not_hold() -> None:
    assert answer(SOURCES, known=[], context="") == "Findings:\n- Acme charges 49 dollars.\n- Globex charges 19 dollars."
    assert answer(SOURCES, known=["Findings: - Acme charges 49 dollars."], context="") == (
        "Findings:\n- Globex charges 19 dollars.\nAlready known, not repeated: 1 of 2."
    )


def test_research_says_so_when_everything_is_known() -> None:
    known = ["Acme charges 49 dollars. Globex charges 19 dollars."]
    assert answer(SOURCES, known=known, context="") == NOTHING_NEW


def test_a_price_that_changed_is_news() -> None:
    assert not holds(["Acme charges 49 dollars."], "Acme charges 59 dollars.")
    assert holds(["Yesterday Acme charges 49 dollars per seat."], "Acme charges 49 dollars")


def test_a_writer_sums_up_the_context() -> None:
    assert answer("Write it up", known=[], context="Findings:\n- One is so\n- Two is so.") == "In short: One is so. Two is so."
    assert answer("Write it up", known=[], context="") == "There is nothing to write about yet."


def test_a_plan_rests_on_facts_or_says_that_there_are_none() -> None:
    assert "neither the task nor memory" in answer("Build a plan", known=[], context="")
    assert answer("Build a plan", known=["Acme is dear"], context="").endswith("1. Act on this: Acme is dear")


def test_a_plan_does_not_rest_on_what_only_sums_up_other_facts() -> None:
    known = ["Acme is dear.", "Globex is cheap.", "In short: Acme is dear. Globex is cheap."]
    assert answer("Plan it", known=known, context="").splitlines()[1:] == [
        "1. Act on this: Acme is dear.", "2. Act on this: Globex is cheap.",
    ]  # fmt: skip


def test_facts_are_list_items_without_the_date_of_memory() -> None:
    assert facts(f"You are R.\n\n{HEADING}\n- (2026-11-20, 3 days ago) Senior Researcher: Acme: 49\n- plain") == [
        "Acme: 49",
        "plain",
    ]


@given(st.text(max_size=200), st.lists(st.text(max_size=50), max_size=5), st.text(max_size=200))
def test_whatever_the_prompt_the_answer_is_the_same_and_not_empty(task: str, known: list[str], context: str) -> None:
    assert answer(task, known=known, context=context) == answer(task, known=known, context=context) != ""


def test_it_reads_crewais_prompts() -> None:
    messages = [
        {"role": "system", "content": "You are R.\n- Acme charges 49 dollars."},
        {"role": "user", "content": f"\nCurrent Task: {SOURCES}\n\nThis is the expected criteria for your final answer: x"},
    ]
    assert OfflineLLM().call(messages).startswith("Findings:\n- Globex charges 19 dollars.\nAlready known")
    assert OfflineLLM().call("just text")


def test_the_environment_chooses_the_model() -> None:
    assert isinstance(choose_llm({}), OfflineLLM)
    local = choose_llm({"OPENAI_BASE_URL": "http://localhost:11434/v1", "OPENAI_MODEL_NAME": "llama3"})
    assert not isinstance(local, OfflineLLM) and local.model == "llama3"
    assert isinstance(choose_llm({"OPENAI_BASE_URL": "http://localhost:11434/v1"}), OfflineLLM)
    assert not isinstance(choose_llm({"OPENAI_API_KEY": "sk-x"}), OfflineLLM)


def test_which_model_is_named_is_known_without_crewai() -> None:
    program = "import sys; from crewmem.named_model import named_model; print(named_model({}), 'crewai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "None False\n"
    assert named_model({"OPENAI_API_KEY": "k"}) == NamedModel("gpt-4o-mini", "k")
    assert named_model({"OPENAI_BASE_URL": "http://h/v1", "OPENAI_MODEL_NAME": "m"}) == NamedModel("m", "none", "http://h/v1")
