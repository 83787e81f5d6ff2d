"""What is said of an exception where others read it: on the log, in a log file, in `last_run()`. Keys are left out of it.

Libraries quote what they were called with: a model's 401 names the API key, a database's error its URL. Consumers redact what
they keep; this holds for what leaves a process before them. It is coarse on purpose: what may be a key is removed.
"""

from __future__ import annotations

import re

REMOVED = "[removed]"
MOST_READ = 4_000
"""Characters of an exception's text that are looked at; the rest is cut off."""

_RULES = (
    # scheme://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,30}://)[^\s/@'\"]{1,300}@", re.IGNORECASE), rf"\1{REMOVED}@"),
    # Authorization: Bearer ..., Basic ...
    (re.compile(r"\b(bearer|basic|digest)\s+[^\s'\",]{6,}", re.IGNORECASE), rf"\1 {REMOVED}"),
    # password=..., "api_key": "...", --token ...
    (
        re.compile(
            r"((?:key|token|secret|passw(?:or)?d|passphrase|pwd|credentials?|authorization|cookie|signature)"
            r"(?:s|[_-][\w-]{0,20})?['\"]?\s{0,3}[=:]\s{0,3})(?!\[removed\]|\d+\b)(['\"]?)[^\s'\",;&)}\]]{3,}",
            re.IGNORECASE,
        ),
        rf"\1\2{REMOVED}",
    ),
    # the key that a sentence ends with: "Incorrect API key provided: ..."
    (re.compile(r"(\b(?:key|token|secret|password)\s+[a-z ]{0,30}:\s{0,3})[^\s'\",]{6,}", re.IGNORECASE), rf"\1{REMOVED}"),
    # prefixes that makers of keys use
    (
        re.compile(
            r"\b(?:sk|pk|rk|gh[oprsu]|github_pat|glpat|xox[abeoprs]|hf|npm|pypi|dckr_pat|whsec|shp(?:at|ss)|am_live|am_test|"
            r"crewmem-master|AKIA|ASIA|AIza|ya29|SG|eyJ)[-_.]?[\w.~+/=-]{8,}"
        ),
        REMOVED,
    ),
)
_WORD = re.compile(r"[\w+/=-]{16,}")
_PIECE = re.compile(r"[A-Za-z0-9]{16,}")


def error_text(error: BaseException, *, max_characters: int) -> str:
    """Return the text of an exception, without what may be a key, at most `max_characters` long."""
    try:
        text = str(error)[:MOST_READ]
    except Exception:  # an error of others, whose text cannot be made
        return ""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _WORD.sub(_unless_random, text)[:max_characters]


def _unless_random(word: re.Match[str]) -> str:
    """The word, unless a part of it mixes letters and digits for as long as keys do and names do not."""
    pieces = _PIECE.findall(word.group())
    random = any(re.search(r"\d", piece) and re.search(r"[A-Za-z]", piece) for piece in pieces)
    return REMOVED if random else word.group()
