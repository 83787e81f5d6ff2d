"""Rules: which spans are kept, and as what. First match wins."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from crewmem_producers.events import Event, MemoryRemembered

from crewmem_consumers import rulefile, variables
from crewmem_consumers.conditions import Condition, context_of
from crewmem_consumers.errors import RuleError
from crewmem_consumers.rulefile import KeepWith
from crewmem_consumers.split import Span

UNMATCHED = "unmatched"
"""The rule of a span that no rule of the file matches: it is kept, so that a gap in the rules loses nothing."""

DEFAULT_RULES = files("crewmem_consumers").joinpath("default.rules.yaml").read_text("utf-8")
"""The text of the default rule file, as it ships with the package."""

Truths = Mapping[str, bool]
"""The text of a condition, and whether it holds."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `condition` decides whether it applies."""

    name: str
    condition: Condition
    keeps: bool
    keep: KeepWith
    why: str
    line: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say of one span. `errors` are the rules that could not be evaluated, with the reason; they were passed
    over. `passed` are the names of those that did not match, in order."""

    rule: str
    keeps: bool
    keep: KeepWith
    why: str = ""
    when: str = ""
    passed: tuple[str, ...] = ()
    errors: tuple[str, ...] = field(default=())


class NotKnown(Exception):
    """A condition would have to be asked."""


class RuleSet:
    """An ordered list of rules. `sha256` is that of the file's text: what the ledger notes. Thread-safe."""

    def __init__(self, text: str, rules: tuple[Rule, ...]) -> None:
        self.text = text
        self.rules = rules
        self.sha256 = fingerprint(text)
        self._said: set[tuple[str, type]] = set()
        self._fields = frozenset[str]().union(*(rule.condition.names for rule in rules))
        self._decisions = _decisions(rules)
        self._truths = {decision.rule: _truths(rules, place) for place, decision in enumerate(self._decisions)}

    @classmethod
    def parse(cls, text: str, *, file: str = "rules", applied: bool = False) -> RuleSet:
        """Raises RuleError with file, line and reason for anything that is not understood.

        With `applied`, of rules that the log has already: a rule with a pattern that only an older crewmem could run is passed
        over each time, and the decisions say so.
        """
        parsed, lines = rulefile.read(text, file=file)
        return cls(text, tuple(_rule(rule, index, lines, file, applied) for index, rule in enumerate(parsed.rules)))

    @classmethod
    def load(cls, path: Path) -> RuleSet:
        """From a file. Raises RuleError also when it cannot be read."""
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise RuleError(f"the file cannot be read: {error}", file=str(path), line=1) from error
        return cls.parse(text, file=str(path))

    def decide(self, event: Event, span: Span, *, truths: Truths = MappingProxyType({}), ask: bool = True) -> Decision:
        """The first rule that matches the span. A remember is kept whatever the rule says.

        `truths` are of conditions that were asked about this span before: they are not asked again. Without `ask` none is:
        NotKnown is raised where `truths` do not tell.
        """
        place, errors = self._first_match(event, span, truths) if ask else (self._known_match(truths), [])
        decision = self._decisions[place]
        keeps = decision.keeps or isinstance(event.body, MemoryRemembered)
        if keeps == decision.keeps and not errors:
            return decision
        return replace(decision, keeps=keeps, errors=tuple(errors))

    def _first_match(self, event: Event, span: Span, truths: Truths) -> tuple[int, list[str]]:
        """Its place (beyond the last rule: none matches), and which rules before it failed."""
        asking = _Asking(event, span, self._fields)
        errors: list[str] = []
        for place, rule in enumerate(self.rules):
            holds = truths.get(rule.condition.source)
            try:
                if asking.holds(rule) if holds is None else holds:
                    return place, errors
            except ValueError as error:
                errors.append(f"{rule.name}: {error}")
                self._say(rule, event, span, error)
        return len(self.rules), errors

    def _say(self, rule: Rule, event: Event, span: Span, error: ValueError) -> None:
        """At warning once a rule and kind of event; the ledger has each."""
        level = logging.DEBUG if (rule.name, event.body.__class__) in self._said else logging.WARNING
        self._said.add((rule.name, event.body.__class__))
        logger.log(
            level, "rule %s (line %d) was passed over for %s of %s, and will be where the same happens: %s",
            rule.name, rule.line, span.name, event.id, error,
        )  # fmt: skip

    def _known_match(self, truths: Truths) -> int:
        for place, rule in enumerate(self.rules):
            holds = truths.get(rule.condition.source)
            if holds is None:
                raise NotKnown
            if holds:
                return place
        return len(self.rules)

    def truths(self, name: str) -> Truths:
        """What follows for conditions when the rule of that name was the first to match, and none before it failed. Of a name
        that is not here: nothing."""
        return self._truths.get(name, {})


class _Asking:
    """Asks conditions about one span; its fields are handed to CEL when the first one is asked."""

    def __init__(self, event: Event, span: Span, fields: Collection[str]) -> None:
        self._event, self._span, self._fields = event, span, fields
        self._context: Any = None

    def holds(self, rule: Rule) -> bool:
        """Raises ValueError when CEL cannot tell."""
        if self._context is None:
            values = variables.of_span(self._event, self._span)
            self._context = context_of({name: values[name] for name in self._fields})
        return rule.condition.holds(self._context)


def _decisions(rules: Sequence[Rule]) -> tuple[Decision, ...]:
    """What each rule decides where it is the first that matches; the last one is for where none does."""
    names = tuple(rule.name for rule in rules)
    unmatched = Decision(UNMATCHED, True, KeepWith(), "no rule matches", passed=names)
    decided = (
        Decision(rule.name, rule.keeps, rule.keep, rule.why, rule.condition.source, names[:place])
        for place, rule in enumerate(rules)
    )
    return (*decided, unmatched)


def _truths(rules: Sequence[Rule], place: int) -> Truths:
    """Where the rule at that place was the first to match; beyond the last one: where none did."""
    return {rule.condition.source: False for rule in rules[:place]} | {
        rule.condition.source: True for rule in rules[place : place + 1]
    }


def fingerprint(text: str) -> str:
    """SHA-256 of a rule file's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def default_rules() -> RuleSet:
    """The default rules."""
    return RuleSet.parse(DEFAULT_RULES, file="default.rules.yaml")


def _rule(written: rulefile.RuleText, index: int, lines: rulefile.Lines, file: str, applied: bool) -> Rule:
    line = lines.of(("rules", index, "when"))
    try:
        condition = Condition(written.when, applied=applied)
    except ValueError as error:
        raise RuleError(f"rule {written.name}: {error}", file=file, line=line) from error
    return Rule(written.name, condition, written.action == "keep", written.keep, written.why, line)
