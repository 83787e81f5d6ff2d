"""Conditions: CEL, checked before it is used, so that a mistake shows in the rule file or command and not over an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import cel
from crewmem_producers.events import Event, KickoffCompleted, KickoffError, KickoffFailed, MemoryRemembered, TaskOutput

from crewmem_consumers import patterns, variables
from crewmem_consumers.errors import PatternRefused
from crewmem_consumers.split import split

CEL_FUNCTIONS = frozenset(
    {
        "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes", "type", "dyn",
        "duration", "timestamp",
    }
)  # fmt: skip
_OPERATOR = re.compile(r"[^A-Za-z]")
_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)\s*,")
_PATTERN = re.compile(r"""(search|matches)\s*\([^()"']*?(r?'(?:[^'\\]|\\.)*'|r?"(?:[^"\\]|\\.)*")\s*\)""")


@dataclass(frozen=True, slots=True)
class Fields:
    """The variables that a condition may use, and sample values, over which a valid one evaluates without an error."""

    names: Collection[str]
    samples: Callable[[], Sequence[dict[str, Any]]]


class Condition:
    """One compiled CEL expression. Thread-safe. Making it raises ValueError with the reason for anything unusable.

    `fields` are those of a span by default. With `applied` a pattern that is refused makes the condition fail each time it is
    asked, and not before: an older crewmem may have put such rules on the log.
    """

    def __init__(self, source: str, *, fields: Fields | None = None, applied: bool = False) -> None:
        self.source = source
        self._fields = fields or SPAN_FIELDS
        try:
            self._program = cel.compile(source)
        except ValueError as error:
            raise ValueError(_first_line(error)) from error
        self._check_names()
        self.refused = self._refused_pattern()
        """Why one of its patterns cannot be used; None where all can."""
        if self.refused is not None:
            if applied:
                return
            raise ValueError(self.refused)
        for values in self._fields.samples():
            self._check_result(values)

    @property
    def names(self) -> frozenset[str]:
        """The fields that it asks for."""
        return frozenset(self._program.variables()) & frozenset(self._fields.names)

    def holds(self, context: Any) -> bool:
        """Whether it is true in a context of `context_of`. Raises ValueError when CEL cannot tell."""
        if self.refused is not None:
            raise ValueError(self.refused)
        try:
            return self._program.execute(context) is True
        except KeyError as error:
            raise ValueError(f"there is no {error}") from error
        except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(_first_line(error)) from error

    def _check_names(self) -> None:
        bound = set(_BOUND.findall(self.source))
        for name in self._program.variables():
            if name not in self._fields.names and name not in bound:
                raise ValueError(f"there is no field {name!r}; there are {', '.join(self._fields.names)}")
        for name in self._program.functions():
            if name not in CEL_FUNCTIONS and name not in variables.FUNCTIONS and not _OPERATOR.match(name):
                known = sorted(CEL_FUNCTIONS | set(variables.FUNCTIONS))
                raise ValueError(f"there is no function {name!r}; there are {', '.join(known)}")

    def _refused_pattern(self) -> str | None:
        """Regular expressions may stand behind a `&&` that no sample gets past."""
        for function, literal in _PATTERN.findall(self.source):
            try:
                if function == "search":
                    patterns.compiled(cel.compile(literal).execute({}))
                else:
                    cel.compile(f"''.matches({literal})").execute({})
            except PatternRefused as error:
                return str(error)
            except (RuntimeError, ValueError) as error:
                return f"{literal} is not a valid regular expression: {_first_line(error)}"
        return None

    def _check_result(self, values: dict[str, Any]) -> None:
        try:
            result = self._program.execute(context_of(values))
        except KeyError:
            return  # a name that this sample's maps do not hold
        except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(_first_line(error)) from error
        if not isinstance(result, bool):
            raise ValueError(f"the condition gives {result!r}, not true or false")


def context_of(values: dict[str, Any]) -> Any:
    """What conditions are evaluated in: made once a span, used for every rule. `values` give every field that they ask for:
    each takes time to hand over, used or not."""
    return cel.Context(values, dict(variables.FUNCTIONS))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())[:300]


def _samples() -> list[dict[str, Any]]:
    task = TaskOutput(index=0, key="k", name="research", agent_role="Researcher", raw="Acme costs $49.")
    bodies = (
        KickoffCompleted(crew="crew", tasks=[task], raw=task.raw),
        KickoffFailed(crew="crew", tasks=[task], error=KickoffError(type="TimeoutError", message="no answer", task_index=0)),
        MemoryRemembered(content="Acme has no API docs"),
    )
    events = [Event(body=body, scope=None) for body in bodies]
    return [variables.of_span(event, span) for event in events for span in split(event)]


SPAN_FIELDS = Fields(tuple(variables.VARIABLES), _samples)
"""What a rule can ask about."""
