"""Secrets in a text: where they are. Formats of keys, places such as addresses and headers, and names such as `password`.

The work grows with the length of the text, whatever the text is: patterns are RE2 or look at a bounded number of characters.
"""

from __future__ import annotations

from dataclasses import dataclass

import re2

from crewmem_consumers import secret_assignments, secret_places


@dataclass(frozen=True, slots=True)
class Secret:
    """text[start:end] is a secret; `label` says of which kind."""

    start: int
    end: int
    label: str


PERSONAL = (
    ("e-mail address", re2.compile(r"()([A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24})")),
    (
        "phone number",
        re2.compile(r"(^|[^\w.,-])((?:\+|00)\d{1,3}[ ./-]?(?:\(?\d{1,5}\)?[ ./-]?){2,6}\d{2,4})\b"),
    ),
    ("iban", re2.compile(r"\b()([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?)\b")),
)
"""What `redaction: personal` takes out as well: label, and a pattern with the find as its second group."""


def find(text: str, *, personal: bool = False) -> list[Secret]:
    """Every secret, in order, without overlaps: of two that overlap one is made."""
    if not text:
        return []
    text = _encodable(text)
    found = [Secret(start, end, label) for start, end, label in (*secret_places.find(text), *secret_assignments.find(text))]
    if personal:
        found += [
            Secret(match.start(2), match.end(2), label) for label, pattern in PERSONAL for match in pattern.finditer(text)
        ]
    return _merged(sorted(found, key=lambda secret: (secret.start, -secret.end)))


def _encodable(text: str) -> str:
    """The text as UTF-8 can hold it, character for character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _merged(found: list[Secret]) -> list[Secret]:
    merged: list[Secret] = []
    for secret in found:
        if merged and secret.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Secret(last.start, max(last.end, secret.end), last.label)
        else:
            merged.append(secret)
    return merged
