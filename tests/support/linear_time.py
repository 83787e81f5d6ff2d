"""Everything that looks at text, over what makes a pattern go back again and again: a program for a process of its own.

It collects every compiled pattern of the four packages, takes their literals, and runs each function over `literal + spaces`
and over repeats of each literal. Time that grows with the square of the text is minutes here and is ended; the line that it
prints names the function and the text.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import re2

PACKAGES = ("crewmem_producers", "crewmem_consumers", "crewmem_store", "crewmem")
CHARACTERS = 30_000
"""Of a text. A pattern that looks at the rest of the text from each character takes 450 million steps."""
CPU_SECONDS = 1.5
"""Of one call; a linear one needs a twentieth of it."""
OF_A_PATTERN = 3
"""So many of its shortest literals, and of its longest ones: those between are of the same alternatives."""
_RE2 = type(re2.compile(""))
_LITERAL = re.compile(r"[^\W_]{2,}|[:=@/.|#<>\"'`*_-]")
_NOT_TEXT = re.compile(r"\\[pP]\{\w+\}|\\[xuU][0-9a-fA-F]{2,8}|\\[a-zA-Z]|\(\?(?:P<\w+>|[a-zA-Z]+[:)]|[:=!<]+)")
USUAL = (
    "a", "A", "0", "\n", "a.", "a@", "a b ", "Aa. ", "- a\n", "\u0301\u0316", "é", "中", "[", "{", "(", "\\", "[redacted: ",
    "key", "The key", "password:", "token=", "=a", "0:", "sk-T3BlbkFJ", "cl_key_", "http://a:", "-----BEGIN PRIVATE KEY-----",
)  # fmt: skip


def patterns() -> dict[str, str]:
    """Where a pattern is -> its source, of every module-level pattern of the packages."""
    found: dict[str, str] = {}
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__") or ".examples" in module.name:
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                found |= {f"{module.name}.{name}": source for source in _sources(value)}
    return found


def _sources(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, re.Pattern | _RE2):
        yield value.pattern if isinstance(value.pattern, str) else value.pattern.decode()
    elif depth < 4 and isinstance(value, tuple | list | set | frozenset):
        for one in value:
            yield from _sources(one, depth + 1)
    elif depth < 4 and isinstance(value, dict):
        yield from _sources(list(value.values()), depth + 1)


def literals(sources: Iterable[str]) -> list[str]:
    """What the patterns are begun by, and what they look for, most of it."""
    found: set[str] = set()
    for source in sources:
        own = sorted(set(_LITERAL.findall(_NOT_TEXT.sub(" ", source))), key=lambda literal: (len(literal), literal))
        found |= {*own[:OF_A_PATTERN], *own[-OF_A_PATTERN:]}
    return sorted(found | set(USUAL))


def functions() -> dict[str, Callable[[str], object]]:
    """Everything that a text of others goes through."""
    from crewmem_consumers import claims, echo, redact, redaction, secrets, sentences, split
    from crewmem_producers import display, error_text

    return {
        "secrets.find": lambda text: secrets.find(text, personal=True),
        "redaction.redact_text": redaction.redact_text,
        "redact.without_scaffolding": redact.without_scaffolding,
        "sentences.sentences": sentences.sentences,
        "sentences.words_of": sentences.words_of,
        "split.pieces": split.pieces,
        "echo.plain": echo.plain,
        "claims.claims": claims.claims,
        "display.display_name": display.display_name,
        "display.display_text": display.display_text,
        "display.visible": display.visible,
        "display.json_visible": display.json_visible,
        "error_text.error_text": lambda text: error_text.error_text(ValueError(text), max_characters=2_000),
    }


class _TooLong(Exception):
    pass


def _stop(*_: object) -> None:
    raise _TooLong


def main() -> int:
    """Exit status 1 and a line for each call that took too long; with arguments, these patterns are searched for instead."""
    signal.signal(signal.SIGVTALRM, _stop)
    called = {f"the pattern {one!r}": re.compile(one).search for one in sys.argv[1:]} or functions()
    sources, failed = sys.argv[1:] or list(patterns().values()), 0
    tried = literals(sources)
    for literal in tried:
        repeats = literal * (CHARACTERS // len(literal))
        for text in (repeats, literal + " " * CHARACTERS):
            for name, function in called.items():
                signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
                try:
                    function(text)
                except _TooLong:
                    failed += 1
                    print(f"{name} over {text[:24]!r}... took more than {CPU_SECONDS:g} s", flush=True)
                finally:
                    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                if failed > 5:
                    return 1
    print(f"{len(sources)} patterns, {len(tried)} literals, {len(called)} functions")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
