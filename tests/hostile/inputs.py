"""Inputs that once stopped everybody, and others of their kinds. None is a real secret, and none is long on the wire.

`TEXTS` is text that costs much to look through; `QUESTIONS` are arguments of a recall; `BODIES` are events over every limit.
"""

from __future__ import annotations

from typing import Any

MARKS = "\u0301\u0316"
"""Two combining marks of different classes: normalising sorts a run of them."""

TEXTS: dict[str, str] = {
    "a key and spaces": "The key" + " " * 9_900,
    "many keys and spaces": ("key" + " " * 800) * 12,
    "a padded table": "\n".join(f"| {'key':<400} | {'token':<400} |" for _ in range(12)),
    "secrets with nothing behind": "secret" + " \t" * 4_900,
    "password names": "password:" * 1_100,
    "colons": "0:" * 5_000,
    "assignments": "token=" * 1_600,
    "equal signs": "=a" * 5_000,
    "half an OpenAI key": "sk-T3BlbkFJ" * 900,
    "cloudant names": "cl_key_" * 1_400,
    "marks": "a" + MARKS * 4_900,
    "one word": "a" * 10_000,
    "digits": "1" * 10_000,
    "dots": "." * 10_000,
    "short sentences": "Aa. " * 2_500,
    "addresses that never end": "a@a." * 2_500,
    "URLs that never end": "http://a:" * 1_100,
    "begun private keys": "-----BEGIN PRIVATE KEY-----" * 370,
    "scaffolding": "Thought: " * 1_100,
    "final answers": "Thought: Final Answer" * 470,
    "redaction marks": "[redacted: " * 900,
    "open brackets": "[" * 10_000,
    "a tower of JSON": '{"a":' * 2_000,
    "bullets": "- a\n" * 2_500,
    "headings": "# a\n" * 2_500,
    "new lines": "a" + "\n" * 9_900,
    "zero-width joiners": "a\u200d" * 5_000,
    "right to left": "\u202ea" * 5_000,
    "capital sharp s": "\u1e9e" * 10_000,
    "Arabic ligatures": "\ufdfa" * 10_000,
    "Hangul": "\u1100\u1161\u11a8" * 3_300,
}

LONG_TEXTS: dict[str, str] = {
    "password names": "password:" * 13_000,
    "half an OpenAI key": "sk-T3BlbkFJ" * 11_000,
    "key and spaces": "The key" + " " * 120_000,
    "assignments": "token=" * 20_000,
    "short sentences": "Aa. " * 2_000_000,
    "one word": "a" * 2_000_000,
    "marks": MARKS * 400_000,
    "new lines": "\n" * 2_000_000,
    "a tower of JSON": "[" * 1_000_000,
}
"""Outputs of a kickoff, which have no limit but that of an event."""

QUESTIONS: dict[str, dict[str, Any]] = {
    "a session of marks": {"q": "x", "session": MARKS * 40_000},
    "a hundred sessions of marks": {"q": "x", "session": [MARKS * 1_000] * 100},
    "a question of marks": {"q": MARKS * 50_000},
    "a question of one word": {"q": "a" * 100_000},
    "a question of many words": {"q": " ".join(f"w{n}" for n in range(15_000))},
    "a question of ligatures": {"q": "\ufdfa" * 100_000},
    "a token of many marks": {"q": "x", "after": ",".join(f"1.0.e.{n}" for n in range(8_425)), "wait_seconds": 5},
    "a token of many offsets": {"q": "x", "after": ",".join(f"1.0.{n}" for n in range(9_000)), "wait_seconds": 5},
    "a token far ahead": {"q": "x", "after": "1.0." + "9" * 5_000, "wait_seconds": 5},
    "deep metadata": {"q": "x", "metadata": {"a": [[[[[[[[[[]]]]]]]]]] * 2_000}},
    "wide metadata": {"q": "x", "metadata": {str(n): n for n in range(20_000)}},
    "a long crew": {"q": "x", "crew": MARKS * 100_000},
    "a year that is none": {"q": "x", "as_of": "9" * 100_000},
}


def _tower(levels: int) -> list[Any]:
    tower: list[Any] = []
    for _ in range(levels):
        tower = [tower]
    return tower


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "content over its limit": ("crewmem.memory.remembered", {"content": "Aa. " * 3_500_000}),
    "metadata over its limit": (
        "crewmem.memory.remembered",
        {"content": "x", "metadata": {str(n): "y" * 20 for n in range(50_000)}},
    ),
    "a key over its limit": ("crewmem.memory.remembered", {"content": "x", "key": MARKS * 100_000}),
    "a role over its limit": ("crewmem.memory.remembered", {"content": "x", "agent_role": MARKS * 100_000}),
    "a session of marks": ("crewmem.memory.remembered", {"content": "x", "session": MARKS * 40_000}),
    "an output over its limit": ("crewmem.kickoff.completed", {"raw": "Aa. " * 3_500_000, "tasks": []}),
    "many tasks": ("crewmem.kickoff.completed", {"raw": "x", "tasks": [{"index": n, "raw": f"t{n}"} for n in range(50_000)]}),
    "many recalled": (
        "crewmem.kickoff.completed",
        {
            "raw": "x",
            "tasks": [],
            "recalled": [{"event_id": "e", "span": "raw", "session": "s", "text": "x y z. " * 20}] * 20_000,
        },
    ),
    "a tower of JSON": ("crewmem.kickoff.completed", {"raw": "x", "tasks": [], "json": {"a": _tower(400)}}),
}
