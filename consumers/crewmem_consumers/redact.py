"""Redact: secrets never reach the store. A secret becomes `[redacted: <what>]`, wherever a splitter cut it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from crewmem_consumers import secrets
from crewmem_consumers.draft import Draft
from crewmem_consumers.redaction import replaced
from crewmem_consumers.secrets import Secret
from crewmem_consumers.split import PIECE

REACH = PIECE
"""How far beyond a span its source is searched: a private key that the splitter cut through is found whole."""

_SCAFFOLDING = re.compile(r"\s*(?:thought|action|observation)\s*:.*\bfinal answer\s*:\s*", re.IGNORECASE | re.DOTALL)

_Place = tuple[int, bool]
"""Which source, by identity, and whether personal data goes as well."""


def redact(drafts: Sequence[Draft]) -> None:
    """Fills `content`, and `source_hash`: SHA-256 of the redacted span."""
    found = _search(drafts)
    for draft in drafts:
        span = draft.span
        content = replaced(span.source, found[_place(draft)], span.start, span.end)
        draft.source_hash = hashlib.sha256(content.encode()).hexdigest()
        draft.content = without_scaffolding(content)


def _search(drafts: Sequence[Draft]) -> dict[_Place, list[Secret]]:
    """Every secret near the drafts' spans. A source is searched only there, since most of a long one is not kept."""
    regions: dict[_Place, list[tuple[int, int]]] = {}
    sources = {_place(draft): draft.span.source for draft in drafts}
    for draft in drafts:
        span, known = draft.span, regions.setdefault(_place(draft), [])
        start, end = max(0, span.start - REACH), min(len(span.source), span.end + REACH)
        if known and known[-1][0] <= start <= known[-1][1]:
            known[-1] = (known[-1][0], max(end, known[-1][1]))
        else:
            known.append((start, end))
    return {
        place: [
            Secret(secret.start + start, secret.end + start, secret.label)
            for start, end in known
            for secret in secrets.find(sources[place][start:end], personal=place[1])
        ]
        for place, known in regions.items()
    }


def _place(draft: Draft) -> _Place:
    return id(draft.span.source), draft.decision.keep.redaction == "personal"


def without_scaffolding(text: str) -> str:
    """What follows `Final Answer:`, when the text begins with an agent's thoughts."""
    match = _SCAFFOLDING.match(text)
    return text if match is None else text[match.end() :]
