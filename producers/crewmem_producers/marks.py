"""Unicode normalisation in a time that does not depend on how many combining marks follow one another.

`unicodedata.normalize` sorts a run of combining marks by insertion: 80,000 marks in two orders take 34 seconds. Everything in
crewmem that normalises text does it here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby
from typing import Literal

from crewmem_producers.limits import MARKS_IN_A_RUN

_FIRST_MARK = 0x300
_LAST_MARK = 0x1FFFF
_NO_MARKS = (range(0x3400, 0xA000), range(0xAC00, 0xF900))
"""Ideographs, Hangul, surrogates and private use: no mark is there, and to look takes time."""


def normalised(form: Literal["NFC", "NFKC"], text: str) -> str:
    """The text in that form, with MARKS_IN_A_RUN of each run of combining marks at most."""
    return unicodedata.normalize(form, cap_marks(text))


def cap_marks(text: str) -> str:
    """The text with the first MARKS_IN_A_RUN of each run of combining marks. Linear."""
    return text if text.isascii() else _long_run().sub(r"\1", text)


def has_long_run(text: str) -> bool:
    """Whether more than MARKS_IN_A_RUN combining marks follow one another. Linear."""
    return not text.isascii() and _long_run().search(text) is not None


@cache
def _long_run() -> re.Pattern[str]:
    """Made at first use, in some 40 ms."""
    ranges = []
    for _, group in groupby(enumerate(filter(_is_mark, range(_FIRST_MARK, _LAST_MARK))), key=lambda pair: pair[1] - pair[0]):
        run = [code for _, code in group]
        ranges.append(f"{chr(run[0])}-{chr(run[-1])}")
    mark = f"[{''.join(ranges)}]"
    return re.compile(f"({mark}{{{MARKS_IN_A_RUN}}}){mark}+")


def _is_mark(code: int) -> bool:
    """Whether normalising sorts the character: it, or what it is decomposed into, begins with a combining class."""
    if any(code in block for block in _NO_MARKS):
        return False
    return unicodedata.combining(unicodedata.normalize("NFKD", chr(code))[0]) != 0
