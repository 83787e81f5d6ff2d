"""The tables in hand-written pages that are made from the program: `make docs` writes them anew, `check_docs.py` compares.

In a page such a table stands between `<!-- made by make docs: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from crewmem_consumers import letter_conditions, variables
from crewmem_consumers.rules import DEFAULT_RULES, Rule, RuleSet

DOCS = Path(__file__).resolve().parent.parent / "docs"
_TABLE = re.compile(r"(?<=<!-- made by make docs: )([a-z ]+) -->\n.*?(?=<!-- end -->)", re.S)


def tables() -> dict[str, str]:
    """Name -> the table as it must stand in a page."""
    default = RuleSet.parse(DEFAULT_RULES).rules
    return {
        "variables of rules": _variables(variables.VARIABLES),
        "variables of dead letters": _variables(letter_conditions.VARIABLES),
        "default rules": _table(("rule", "does", "why"), ((f"`{one.name}`", _does(one), one.why) for one in default)),
    }


def renewed(text: str) -> str:
    """The page with its tables as they must be. Raises KeyError for a table that is none of them."""
    made = tables()
    return _TABLE.sub(lambda found: f"{found[1]} -->\n{made[found[1]]}\n", text)


def stale() -> Iterator[Path]:
    """Pages that have a table that is not as the program would make it."""
    return (page for page in sorted(DOCS.glob("*.md")) if renewed(page.read_text("utf-8")) != page.read_text("utf-8"))


def _variables(described: Mapping[str, str]) -> str:
    rows = ((f"`{name}`", *described[name].split(": ", 1)) for name in described)
    return _table(("variable", "type", "meaning"), rows)


def _does(rule: Rule) -> str:
    settled = rule.keep.model_dump(mode="json", exclude_unset=True)
    return "keeps" + "".join(f", {name} `{value}`" for name, value in settled.items()) if rule.keeps else "drops"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    line = "| " + " | ".join(head) + " |"
    return "\n".join((line, "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)))


if __name__ == "__main__":
    for page in list(stale()):
        page.write_text(renewed(page.read_text("utf-8")), "utf-8")
        print(page.relative_to(DOCS.parent), file=sys.stderr)
