"""What vectors do not see: figures, dates, periods and negation. Two texts that differ there do not say the same.

all-MiniLM-L6-v2 puts "$49 a month" and "$59 a month" at a cosine of .98, "a month" and "a year" at .96, "in March" and
"in April" at .94, "no documentation" and "documentation" at .92: closer than many a sentence and its own paraphrase.
"""

from __future__ import annotations

import re
from collections import Counter

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_TOKEN = re.compile(r"\w+")
_CALENDAR = frozenset(
    {
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    }
)  # fmt: skip
_NEGATIONS = frozenset({"no", "not", "never", "none", "nothing", "nobody", "neither", "nor", "without", "cannot"})
_SHORT_NOT = re.compile(r"n['’]t\b", re.IGNORECASE)
_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    "eleven": "11", "twelve": "12", "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "hundred": "hundred",
    "thousand": "thousand", "million": "million", "billion": "billion", "half": "half", "double": "double", "twice": "twice",
    "hour": "hour", "hours": "hour", "hourly": "hour", "day": "day", "days": "day", "daily": "day", "week": "week",
    "weeks": "week", "weekly": "week", "month": "month", "months": "month", "monthly": "month", "quarter": "quarter",
    "quarters": "quarter", "quarterly": "quarter", "year": "year", "years": "year", "yearly": "year", "annual": "year",
    "annually": "year",
}  # fmt: skip


def claims(text: str) -> Counter[str]:
    """Every figure, date and period with how often it is there, and whether anything is negated.

    `1,500` equals `1500`, `49.00` equals `49`, `two` equals `2`, `monthly` equals `a month`.
    """
    found = Counter(_canonical(number) for number in _NUMBER.findall(text))
    tokens = _TOKEN.findall(text)
    lowered = [token.lower() for token in tokens]
    found.update(_WORDS[token] for token in lowered if token in _WORDS)
    found.update(token for token in tokens if token in _CALENDAR)
    if not _NEGATIONS.isdisjoint(lowered) or _SHORT_NOT.search(text):
        found["not"] = 1
    return found


def held_by(own: Counter[str], whole: Counter[str]) -> bool:
    """Whether a text with the claims `own` says nothing that one with the claims `whole` does not."""
    return own <= whole and own["not"] == whole["not"]


def _canonical(number: str) -> str:
    """Groups of three after a comma are thousands; other commas are decimal."""
    head, *groups = number.split(",")
    if groups and all(len(group.split(".")[0]) == 3 for group in groups):
        number = head + "".join(groups)
    number = number.replace(",", ".")
    if number.count(".") == 1:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"
