"""Numbers in a text: two texts that differ in one do not say the same, however close their vectors are."""

from __future__ import annotations

import re
from collections import Counter

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def numbers(text: str) -> Counter[str]:
    """Every number with how often it is there; 1,500 equals 1500, and 49.00 equals 49."""
    return Counter(_canonical(found) for found in _NUMBER.findall(text))


def _canonical(number: str) -> str:
    """Groups of three after a comma are thousands; other commas are decimal."""
    head, *groups = number.split(",")
    if groups and all(len(group.split(".")[0]) == 3 for group in groups):
        number = head + "".join(groups)
    number = number.replace(",", ".")
    if number.count(".") == 1:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"
