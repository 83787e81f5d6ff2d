import logging
from datetime import timedelta
from pathlib import Path

import pytest
from crewmem_consumers.conditions import Condition
from crewmem_consumers.errors import RuleError
from crewmem_consumers.rules import DEFAULT_RULES, UNMATCHED, Decision, RuleSet, default_rules, fingerprint
from crewmem_consumers.split import split
from crewmem_producers.errors import CrewmemError
from crewmem_producers.events import Event
from hypothesis import given
from hypothesis import strategies as st
from support.pipeline import failure, kickoff, remember

DROP_ALL = "version: 1\nrules:\n  - {name: nothing, action: drop}\n"


def decide(event: Event, rules: RuleSet | None = None) -> Decision:
    return (rules or default_rules()).decide(event, split(event)[0])


def rules(when: str, *, action: str = "drop", with_: str = "") -> RuleSet:
    return RuleSet.parse(f"version: 1\nrules:\n  - name: asked\n    when: |\n      {when}\n    action: {action}\n{with_}")


@pytest.mark.parametrize(
    ("output", "rule"),
    [
        ("", "empty"),
        (" --- \n", "empty"),
        ("I don't know.", "no-answer"),
        ("I don’t know the answer to that", "no-answer"),
        ("N/A", "no-answer"),
        ("No results were found.", "no-answer"),
        ("Unfortunately, I don't have access to the internet.", "no-answer"),
        ("As an AI, I cannot browse the web.", "no-answer"),
        ("Thought: I need to search\nAction: search\nAction Input: {}", "scaffolding"),
    ],
)
def test_the_default_rules_drop_what_carries_nothing(output: str, rule: str) -> None:
    decision = decide(kickoff(output))
    assert (decision.rule, decision.keeps) == (rule, False)


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("Key findings: Acme has no API documentation.", "finding"),
        ("We decided to launch in March; see https://acme.example", "finding"),
        ("The customer prefers e-mail over calls.", "preference"),
        ("Their budget is below 10,000 a month.", "preference"),
        ("Acme charges $49 a month.", "data"),
        ("Prices are on https://acme.example/pricing", "data"),
        ("Done: the newsletter went out.", "completed"),
        ("The report has been published on the wiki.", "completed"),
        ("Could not reach the pricing page: access denied.", "failure"),
        ("Acme was founded by two sisters.", "finding"),
        ("None of the competitors offer a free tier.", "finding"),
        ("I don't know their revenue, but they employ 300 people and sell in 12 countries.", "finding"),
        ("Thought: I can answer now\nFinal Answer: Acme charges $49.", "data"),
    ],
)
def test_the_default_rules_keep_the_rest_and_label_it_by_kind(output: str, kind: str) -> None:
    decision = decide(kickoff(output))
    assert decision.keeps and decision.keep.kind == kind


def test_a_failed_kickoff_is_kept_as_a_failure() -> None:
    decision = decide(failure("no answer"))
    assert decision.keeps and decision.keep.kind == "failure"


def test_a_remember_is_never_dropped() -> None:
    decision = decide(remember("I don't know."), RuleSet.parse(DROP_ALL))
    assert decision.rule == "nothing" and decision.keeps


def test_the_first_rule_that_matches_decides() -> None:
    text = "version: 1\nrules:\n  - {name: first, when: 'true', action: keep}\n  - {name: second, action: drop}\n"
    decision = decide(kickoff("anything"), RuleSet.parse(text))
    assert (decision.rule, decision.keeps) == ("first", True)


def test_what_no_rule_matches_is_kept() -> None:
    decision = decide(kickoff("anything"), rules("false"))
    assert (decision.rule, decision.keeps, decision.passed) == (UNMATCHED, True, ("asked",))


def test_a_rule_says_how_a_span_is_kept() -> None:
    with_ = "    with: {kind: idea, summary: lead, ttl: 12h, importance: 0.9, redaction: personal, duplicates: exact}\n"
    keep = decide(kickoff("anything"), rules("true", action="keep", with_=with_)).keep
    assert (keep.kind, keep.summary, keep.ttl) == ("idea", "lead", timedelta(hours=12))
    assert (keep.importance, keep.redaction, keep.duplicates) == (0.9, "personal", "exact")


def test_a_ttl_of_none_is_for_ever_and_an_unsaid_one_is_the_default_of_the_kind() -> None:
    assert decide(kickoff("x"), rules("true", action="keep", with_="    with: {ttl: none}\n")).keep.sets_ttl
    assert not decide(kickoff("x"), rules("true", action="keep")).keep.sets_ttl


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ("type == 'completed' && span == 'task/0'", True),
        ("crew == 'research' && agent_role == 'Researcher' && task_key == 't0' && tasks == 1", True),
        ("has(inputs.region) && inputs.region == 'EU'", True),
        ("inputs.exists(name, name == 'region')", True),
        ("mentions(text, ['price list', 'acme'])", True),
        ("mentions(text, ['cme'])", False),
        ("mentions(text, ['Price List'])", True),
        ("mentions(text, ['a list'])", False),
        ("mentions(text, [])", False),
        ("mentions(text + ' é', ['PRICE LIST'])", True),
        ("search(text, r'acm.\\b')", True),
        ("text.matches('Acme')", True),
        ("size(text) > 100", False),
        ("text.startsWith('Acme') && !text.contains('free')", True),
        ("error_type != '' || key != '' || speaker != '' || kind != ''", False),
        ("importance >= 0.5 && size(metadata) == 0 && task_name == '' && crew_key == 'ck'", True),
    ],
)
def test_conditions_see_the_event(when: str, matches: bool) -> None:
    event = kickoff("Acme has a price list", inputs={"region": "EU"})
    assert (decide(event, rules(when)).rule == "asked") is matches


def test_conditions_see_what_a_remember_says() -> None:
    event = remember("x", kind="idea", key="k", speaker="Ann", importance=0.9, metadata={"source": "mail"})
    when = "kind == 'idea' && key == 'k' && speaker == 'Ann' && importance > 0.8 && metadata.source == 'mail'"
    assert decide(event, rules(when, action="keep")).rule == "asked"


def test_a_condition_that_cannot_be_evaluated_is_passed_over_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        decision = decide(kickoff("x"), rules("inputs.region == 'EU'"))
    assert (decision.rule, decision.keeps) == (UNMATCHED, True)
    assert "region" in decision.errors[0] and "asked" in caplog.text


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("rules: [", 1, "no YAML"),
        ("", 1, "valid dictionary"),
        ("version: 1\nrules: []\n", 2, "at least 1 item"),
        ("version: 2\nrules:\n  - {name: a, action: drop}\n", 1, "version"),
        ("version: 1\nversion: 1\nrules: []\n", 2, "'version' is there twice"),
        ("version: 1\nrules:\n  - name: a\n    action: drop\n    action: keep\n", 5, "'action' is there twice"),
        ("version: 1\nrule:\n  - {name: a, action: drop}\n", 2, "no field 'rule'"),
        ("version: 1\nrules:\n  - name: a\n    wen: 'true'\n    action: drop\n", 4, "no field 'rules.0.wen'"),
        ("version: 1\nrules:\n  - name: a\n    action: discard\n", 4, "'keep' or 'drop'"),
        ("version: 1\nrules:\n  - name: a\n    when: foo == 1\n    action: drop\n", 4, "no field 'foo'"),
        (
            "version: 1\nrules:\n  - name: a\n    when: false && text.upper() == ''\n    action: drop\n",
            4,
            "no function 'upper'",
        ),
        ("version: 1\nrules:\n  - name: a\n    when: 'text =='\n    action: drop\n", 4, "Syntax error"),
        ("version: 1\nrules:\n  - name: a\n    when: size(text)\n    action: drop\n", 4, "not true or false"),
        ("version: 1\nrules:\n  - name: a\n    when: text > 3\n    action: drop\n", 4, "overload"),
        (
            "version: 1\nrules:\n  - name: a\n    when: false && search(text, '(')\n    action: drop\n",
            4,
            "is not a valid regular expression",
        ),
        (
            "version: 1\nrules:\n  - name: a\n    when: false && text.matches('(')\n    action: drop\n",
            4,
            "is not a valid regular expression",
        ),
        (
            "version: 1\nrules:\n  - name: a\n    when: false && search(text, '(?!x)')\n    action: drop\n",
            4,
            "cannot be run in linear time: it looks ahead",
        ),
        (
            "version: 1\nrules:\n  - name: a\n    action: keep\n    with: {kind: data, tll: 3d}\n",
            5,
            "no field 'rules.0.with.tll'",
        ),
        ("version: 1\nrules:\n  - name: a\n    action: keep\n    with:\n      ttl: 5\n", 6, "a ttl is"),
        ("version: 1\nrules:\n  - name: a\n    action: keep\n    with: {importance: 7}\n", 5, "less than or equal to 1"),
        ("version: 1\nrules:\n  - name: a\n    action: drop\n    with: {kind: data}\n", 5, "drops has no `with`"),
        ("version: 1\nrules:\n  - {name: a, action: drop}\n  - {name: a, action: keep}\n", 4, "two rules named 'a'"),
        ("version: 1\nrules:\n  - {name: echo, action: drop}\n", 3, "crewmem itself uses"),
        ("version: 1\nrules:\n  - {name: Bad Name, action: drop}\n", 3, "name"),
        ("version: 1\nrules: !!python/object:os.system {}\n", 2, "no YAML"),
        ("&a [*a]", 1, "valid dictionary"),
    ],
)
def test_a_rule_file_that_is_not_understood_is_refused_with_file_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(RuleError, match=f"crew.rules.yaml, line {line}: ") as caught:
        RuleSet.parse(text, file="crew.rules.yaml")
    assert reason in caught.value.reason
    assert isinstance(caught.value, CrewmemError) and isinstance(caught.value, ValueError)


def test_a_pattern_of_rules_that_are_on_the_log_stops_nobody_and_its_rule_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = "version: 1\nrules:\n  - name: old\n    when: search(text, '^(?!Acme)')\n    action: drop\n"
    with pytest.raises(RuleError, match="linear time"):
        RuleSet.parse(text)
    applied = RuleSet.parse(text, applied=True)
    for _ in range(3):
        decision = decide(kickoff("Initech"), applied)
        assert (decision.rule, decision.keeps) == (UNMATCHED, True)
        assert decision.errors and "(?!...)" in decision.errors[0]
    assert [record.levelname for record in caplog.records if "passed over" in record.getMessage()] == ["WARNING"]


def test_a_rule_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot be read"):
        RuleSet.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleError, match="cannot be read"):
        RuleSet.load(tmp_path / "binary.yaml")


def test_a_rule_set_is_known_by_the_hash_of_its_text() -> None:
    assert default_rules().sha256 == fingerprint(DEFAULT_RULES) and len(default_rules().sha256) == 64
    assert RuleSet.parse(DROP_ALL).sha256 != RuleSet.parse(DROP_ALL + "# a comment\n").sha256


CONDITIONS = ("text.contains('a')", "text.contains('b')", "size(text) > 2", "metadata.b == 'x'", "true", "false")
"""One of them fails for whatever has no such metadata."""


def rule_sets() -> st.SearchStrategy[RuleSet]:
    written = st.lists(st.tuples(st.sampled_from(CONDITIONS), st.sampled_from(("keep", "drop"))), min_size=1, max_size=6)
    return written.map(
        lambda rules: RuleSet.parse(
            "version: 1\nrules:\n" + "".join(
                f'  - {{name: rule{place}, when: "{when}", action: {action}}}\n' for place, (when, action) in enumerate(rules)
            )
        )
    )  # fmt: skip


@given(before=rule_sets(), after=rule_sets(), text=st.sampled_from(("a", "b", "ab", "abc", "none")), told=st.booleans())
def test_what_other_rules_found_out_of_a_span_changes_no_decision(
    before: RuleSet, after: RuleSet, text: str, told: bool
) -> None:
    event = remember(text, metadata={"b": "x"}) if told else kickoff(text)
    found = decide(event, before)
    if not found.errors:
        [span] = split(event)
        assert after.decide(event, span, truths=before.truths(found.rule)) == decide(event, after)


def test_what_is_known_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = Condition.holds
    monkeypatch.setattr(Condition, "holds", lambda self, context: asked.append(self.source) or real(self, context))
    event = kickoff("Acme was founded by two sisters.")
    found = decide(event)
    assert len(asked) == len(found.passed) + 1
    asked.clear()
    assert default_rules().decide(event, split(event)[0], truths=default_rules().truths(found.rule)) == found
    assert asked == []
    assert default_rules().truths("no such rule") == {}
