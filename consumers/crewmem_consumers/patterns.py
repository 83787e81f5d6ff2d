"""Regular expressions of rules, run in time that is linear in the text.

Whoever writes a rule decides what a consumer runs over everybody's events, so a pattern must not be able to run for hours:
Python's `re` needs exponential time for `(a+)+$`. The engine here is Rust's `regex` (https://docs.rs/regex, no backtracking),
through pydantic, which ships with it. Patterns are written as for Python's `re`; where the two differ and the meaning can be
kept, the pattern is translated.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

from crewmem_consumers.errors import PatternRefused

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|\(\?[a-zA-Z]+[):-]|.", re.DOTALL)
"""An escape, a class, a group with flags, or one character."""
_IN_CLASS = re.compile(r"(?P<escape>\\.)|&&|--|~~|\[", re.DOTALL)
_ESCAPES = {r"\Z": r"\z"}
_POSSESSIVE = re.compile(r"(?:[*+?]|\{\d*,?\d*\})\+|\(\?>")
_REASONS = {
    "look-around": "it looks ahead or behind, as (?=...), (?!...), (?<=...) and (?<!...) do. Write two conditions instead: "
    'search(text, r"a") && !search(text, r"b")',
    "backreferences": "it refers back to what a group found, as \\1 does. List the alternatives instead",
    "size limit": "it is too large once its repetitions are written out. Use smaller counts, or `+` and `*`",
}


class Pattern:
    """A compiled pattern; case is ignored. Thread-safe."""

    def __init__(self, pattern: str) -> None:
        """Raises PatternRefused."""
        if _POSSESSIVE.search("".join(piece for piece in _PIECE.findall(pattern) if piece[0] not in "\\[")):
            raise PatternRefused(f"{pattern!r}: this engine never backtracks; write a+ and (?:...) instead of a++ and (?>...)")
        try:
            schema = core_schema.str_schema(pattern=f"(?i){_translated(pattern)}", regex_engine="rust-regex")
            self._validator = SchemaValidator(schema)
        except SchemaError as error:
            raise PatternRefused(_reason(pattern, str(error))) from error

    def found_in(self, text: str) -> bool:
        """Whether it matches anywhere in the text."""
        return self._validator.isinstance_python(text)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Pattern:
    """The pattern, compiled once. Raises PatternRefused for one that is not valid, or that cannot be run in linear time."""
    return Pattern(pattern)


def _translated(pattern: str) -> str:
    """The same pattern as Rust's `regex` reads it."""
    if any(flags.startswith("(?") and "m" in flags.partition("-")[0] for flags in _PIECE.findall(pattern)):
        return "".join(map(_piece, _PIECE.findall(pattern)))
    return "".join(r"(?:\n?\z)" if piece == "$" else _piece(piece) for piece in _PIECE.findall(pattern))


def _piece(piece: str) -> str:
    if piece.startswith("[") and len(piece) > 1:  # Rust has classes in classes and operators on them; Python has not
        start = 2 if piece.startswith("[^") else 1
        return piece[:start] + _escaped_class(piece[start:-1]) + "]"
    return _ESCAPES.get(piece, piece)


def _escaped_class(inner: str) -> str:
    if inner.startswith("]"):
        return r"\]" + _escaped_class(inner[1:])
    return _IN_CLASS.sub(lambda found: found["escape"] or "".join(f"\\{one}" for one in found[0]), inner)


def _reason(pattern: str, said: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is not a valid regular expression: {error}"
    why = next((remedy for word, remedy in _REASONS.items() if word in said), None)
    if why is None:
        why = f"{said.strip().splitlines()[-1].strip()}. Write it as https://docs.rs/regex describes"
    return f"{pattern!r} cannot be run in linear time: {why}"
