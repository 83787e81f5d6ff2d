"""Texts without their secrets: what every string on its way to the store goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from crewmem_consumers import secrets
from crewmem_consumers.secrets import Secret

_MOST_NAMES = 4096


def replaced(source: str, found: Sequence[Secret], start: int, end: int) -> str:
    """source[start:end] with every secret that reaches into it as `[redacted: <what>]`."""
    parts, place = [], start
    for secret in found:
        if secret.end > start and secret.start < end:
            parts += [source[place : max(place, secret.start)], f"[redacted: {secret.label}]"]
            place = min(secret.end, end)
    return "".join([*parts, source[place:end]])


def redact_text(text: str) -> str:
    """The text without secrets."""
    found = secrets.find(text)
    return replaced(text, found, 0, len(text)) if found else text


@lru_cache(maxsize=_MOST_NAMES)
def redact_name(name: str | None) -> str | None:
    """A short text that comes again and again: a role, a crew, a key. Empty is None."""
    return redact_text(name) if name else None


def redact_value(value: Any) -> Any:
    """JSON with every string in it redacted; what stands under a name such as `password` goes as a whole."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_text(str(name)): _under(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(inner) for inner in value]
    return value


def _under(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return redact_value(value)
    plain = redact_text(value)
    if plain == value and secrets.find(f'{name}: "{"x" * 8}"'):
        return "[redacted: password]"
    return plain
