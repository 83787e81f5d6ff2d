"""Patterns mean what they mean in Python's `re`, and take time that is linear in the text."""

from __future__ import annotations

import re

import pytest
from crewmem_consumers.errors import PatternRefused
from crewmem_consumers.patterns import Pattern, compiled
from crewmem_consumers.rules import DEFAULT_RULES
from crewmem_producers.errors import CrewmemError
from hypothesis import given
from hypothesis import strategies as st

SAMPLES = (
    r"[^\W_]", r"^\W*(none|n/?a)\W*$", r"\brésumé\b", r"\bA\b", r"^a.c$", r"[$€£]\s?\d", r"\d{2,3}%", r"\S+@\S+", r"a\Z",
    r"[[]", r"[]x]", r"[^]x]", r"[a&&b]",  r"[\]\[]", r"x$", r"(?m)^b$", r"(?s)a.b", r"(?:a|b)+?c", r"\x41", r"\u00e9",
    r"\.", r"\D", r"\s", r"ß", r"straße",
    r"(?P<name>a)b", r"a{2}", r"a{1,}", r"\$", r"[$]", r"",
)  # fmt: skip
TEXTS = (
    "", "a", "A", "none\n", "N/A", "_", "--", "mon résumé ici", "résuméx", "€ 5", "5%", "55%", "a@b.de", "a\n", "x\n",
    "x\n\n", "[", "]", "-",    "&", "a\nb", "b",
    "aac", "é", "É", ".", "\u00a0", "\u0661", "12", "STRASSE", "Straße", "ab", "aa", "$", "中文 A 中", "ab\n", "\u2028",
)  # fmt: skip


def default_patterns() -> list[str]:
    return re.findall(r'search\(text, r"((?:[^"\\]|\\.)*)"\)', DEFAULT_RULES)


@pytest.mark.filterwarnings("ignore:Possible (set|nested)")
@pytest.mark.parametrize("pattern", [*SAMPLES, *default_patterns()])
def test_a_pattern_finds_what_python_finds(pattern: str) -> None:
    ours, pythons = Pattern(pattern), re.compile(pattern, re.IGNORECASE)
    assert [text for text in TEXTS if ours.found_in(text)] == [text for text in TEXTS if pythons.search(text)]


@pytest.mark.filterwarnings("ignore:Possible (set|nested)")
@given(
    st.text("ab[]^-&~$.é _1\n\\wWdDsSbZ(|)?*+", max_size=12),
    st.lists(st.text("ab[]^-&é _1\n.$", max_size=8), max_size=6),
)
def test_any_pattern_that_both_accept_finds_the_same(pattern: str, texts: list[str]) -> None:
    try:
        pythons = re.compile(pattern, re.IGNORECASE)
        ours = Pattern(pattern)
    except (re.error, PatternRefused):
        return
    if re.search(r"\$[^)|]", pattern):  # a `$` with something behind it: here it takes the last newline, in Python it does not
        return
    for text in texts:
        assert ours.found_in(text) == bool(pythons.search(text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=x)y", "search(text, r\"a\") && !search"), ("(?<!x)y", "looks ahead or behind"),
        (r"(a)\1", "List the alternatives"),
        (r"\w{5000}", "Use smaller counts"), ("a++b", "never backtracks"), ("(?>a)b", "never backtracks"),
        ("(", "is not a valid regular expression"),
        (r"[a-\d]", "is not a valid"), (r"\N{BULLET}", "docs.rs/regex"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_and_what_to_write_instead(pattern: str, reason: str) -> None:
    with pytest.raises(PatternRefused) as caught:
        compiled(pattern)
    assert reason in str(caught.value) and isinstance(caught.value, CrewmemError)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(a|aa)+$", "([a-z]+)*[0-9]", "(x+x+)+y", r"^(\w+\s?)*$"])
def test_what_takes_python_hours_ends(pattern: str) -> None:
    """With a backtracking engine the suite would stand still here."""
    for unit in ("a", "x", "a ", "ax"):
        compiled(pattern).found_in(unit * 200_000 + "!")
