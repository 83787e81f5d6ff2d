"""Texts without their secrets: what every string on its way to the store goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from crewmem_consumers import secrets
from crewmem_consumers.secret_names import names_a_secret
from crewmem_consumers.secrets import Secret

_MOST_NAMES = 4096
_SECRET_NAMES = frozenset({"secret", "secrets", "token", "passwords", "api_keys", "credentials", "pw"})
"""Beside those that are found in prose: as names of fields they are plain enough."""


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
        return {redact_name(str(name)) or "": _under(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(inner) for inner in value]
    return value


def _under(name: str, value: Any) -> Any:
    if not _is_of_secrets(name) or isinstance(value, Mapping | bool) or value in (None, "", []):
        return redact_value(value)
    if isinstance(value, list | tuple):
        return [_under(name, inner) for inner in value]
    plain = redact_value(value)
    return "[redacted: password]" if plain == value else plain


@lru_cache(maxsize=_MOST_NAMES)
def _is_of_secrets(name: str) -> bool:
    """Whether what stands under that name is a secret, whatever it looks like."""
    return name.casefold() in _SECRET_NAMES or names_a_secret(name)
