import json

from crewmem_consumers.explain import explain
from crewmem_consumers.rules import RuleSet, default_rules
from support.pipeline import START, Pipeline, erase, kickoff, remember


def test_each_span_is_told_with_its_rule_and_why() -> None:
    found = explain(kickoff("I don't know.", "Acme charges $49, password=hunter2"), default_rules())
    assert [(one.span, one.rule, one.keeps) for one in found] == [("task/0", "no-answer", False), ("task/1", "data", True)]
    assert found[0].why == "it says only that there is no answer" and "search(text" in found[0].when
    assert "empty" in found[0].passed and found[0].errors == ()
    assert (found[1].kind, found[1].redacted) == ("data", ("password",))
    assert found[1].expires_at is not None and (found[1].expires_at - START).days == 30


def test_what_the_ledger_says_is_told_too() -> None:
    pipeline = Pipeline()
    event = kickoff("It has no docs.", recalled=["It has no docs."])
    pipeline.run(event)
    [one] = explain(event, default_rules(), ledger=pipeline.ledger()[0])
    assert (one.outcome, one.rule, one.memory_id) == ("dropped", "echo", pipeline.ledger()[0].spans["task/0"]["memory_id"])


def test_beyond_the_tenth_memory_the_limit_is_told() -> None:
    found = explain(kickoff(*(f"Finding {n}" for n in range(12))), default_rules())
    assert [one.rule for one in found[9:]] == ["output", "limit", "limit"]
    assert "10 memories" in found[10].why


def test_events_without_spans_have_nothing_to_explain() -> None:
    assert explain(erase(), default_rules()) == []


def test_a_condition_that_cannot_be_evaluated_is_told() -> None:
    rules = RuleSet.parse("version: 1\nrules:\n  - {name: eu, when: inputs.region == 'EU', action: drop}\n")
    [one] = explain(kickoff("x"), rules)
    assert one.rule == "unmatched" and one.errors == ("eu: there is no 'region'",)


def test_an_explanation_is_json_and_shows_no_text() -> None:
    [one] = explain(remember("a very private sentence"), default_rules())
    assert "private" not in json.dumps(one.as_json())
