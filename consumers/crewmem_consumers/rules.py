"""Rules: which spans are kept, and as what. First match wins."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

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


class RuleSet:
    """An ordered list of rules. `sha256` is that of the file's text: what the ledger notes. Thread-safe."""

    def __init__(self, text: str, rules: tuple[Rule, ...]) -> None:
        self.text = text
        self.rules = rules
        self.sha256 = fingerprint(text)
        self._names = frozenset[str]().union(*(rule.condition.names for rule in rules))

    @classmethod
    def parse(cls, text: str, *, file: str = "rules") -> RuleSet:
        """Raises RuleError with file, line and reason for anything that is not understood."""
        parsed, lines = rulefile.read(text, file=file)
        return cls(text, tuple(_rule(rule, index, lines, file) for index, rule in enumerate(parsed.rules)))

    @classmethod
    def load(cls, path: Path) -> RuleSet:
        """From a file. Raises RuleError also when it cannot be read."""
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise RuleError(f"the file cannot be read: {error}", file=str(path), line=1) from error
        return cls.parse(text, file=str(path))

    def decide(self, event: Event, span: Span) -> Decision:
        """The first rule that matches the span. A remember is kept whatever the rule says."""
        values = variables.of_span(event, span)
        context = context_of({name: values[name] for name in self._names})
        passed: list[str] = []
        errors: list[str] = []
        for rule in self.rules:
            try:
                if rule.condition.holds(context):
                    keeps = rule.keeps or isinstance(event.body, MemoryRemembered)
                    return Decision(rule.name, keeps, rule.keep, rule.why, rule.condition.source, tuple(passed), tuple(errors))
            except ValueError as error:
                errors.append(f"{rule.name}: {error}")
                logger.warning("rule %s (line %d) passed over %s of %s: %s", rule.name, rule.line, span.name, event.id, error)
            passed.append(rule.name)
        return Decision(UNMATCHED, True, KeepWith(), "no rule matches", "", tuple(passed), tuple(errors))


def fingerprint(text: str) -> str:
    """SHA-256 of a rule file's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def default_rules() -> RuleSet:
    """The default rules."""
    return RuleSet.parse(DEFAULT_RULES, file="default.rules.yaml")


def _rule(written: rulefile.RuleText, index: int, lines: rulefile.Lines, file: str) -> Rule:
    line = lines.of(("rules", index, "when"))
    try:
        condition = Condition(written.when)
    except ValueError as error:
        raise RuleError(f"rule {written.name}: {error}", file=file, line=line) from error
    return Rule(written.name, condition, written.action == "keep", written.keep, written.why, line)
