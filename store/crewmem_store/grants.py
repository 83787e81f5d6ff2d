"""Session patterns of API keys, and the rights that each gives: `shared:read`, `project_*:read,write`, `user-*`.

In a pattern `*` stands for any run of characters, and every other character for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from crewmem_producers.errors import SettingsError
from crewmem_producers.names import ALL_SESSIONS, normalise_session

MAX_PATTERNS = 100
"""Session patterns of one key, at most: each request matches a session against all of them."""


class Right(StrEnum):
    """What a key may do: READ recalls and lists, WRITE remembers, forgets and publishes, ADMIN sees the accounting of its
    tenant, OPERATOR that of the whole deployment."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    OPERATOR = "operator"


ALL_RIGHTS = tuple(Right)
OF_SESSIONS = (Right.READ, Right.WRITE)
"""Rights that a session pattern can give; the others are of the whole key."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Sessions that a pattern matches, and what the key may do there."""

    pattern: str
    rights: tuple[Right, ...]

    def __str__(self) -> str:
        return f"{self.pattern}:{','.join(self.rights)}" if self.rights else self.pattern


def matches(pattern: str, session: str) -> bool:
    """Whether the pattern matches the whole session name. No piece is looked for twice, so that many stars cost little."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == session
    *middle, last = rest
    if len(session) < len(first) + len(last) or not session.startswith(first) or not session.endswith(last):
        return False
    place, end = len(first), len(session) - len(last)
    for piece in middle:
        found = session.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def parse(texts: Iterable[str], *, rights: Iterable[str]) -> tuple[Grant, ...]:
    """Grants of patterns as `keys create --session` takes them: with rights of their own, `shared:read`, else with `rights`.

    A colon that no rights follow is part of the pattern. Raises SettingsError for no pattern, too many, two of the same
    sessions, or a right that no session has; InvalidName for a pattern that cannot be a session's name.
    """
    if isinstance(texts, str):
        raise SettingsError("session patterns are a list")
    usual = tuple(right for right in check_rights(rights) if right in OF_SESSIONS)
    found = [_parse(text, usual) for text in texts]
    if not found:
        raise SettingsError("a key needs at least one session pattern (`*`: every session)")
    if len(found) > MAX_PATTERNS:
        raise SettingsError(f"a key has at most {MAX_PATTERNS} session patterns, not {len(found)}; `*` in one stands for many")
    if len({grant.pattern for grant in found}) < len(found):
        raise SettingsError("a key names each session pattern once, with all of its rights: `project_*:read,write`")
    return tuple(found)


def _parse(text: str, usual: tuple[Right, ...]) -> Grant:
    name, colon, suffix = text.rpartition(":")
    named = [part.strip() for part in suffix.split(",")]
    if not colon or not set(named) <= set(ALL_RIGHTS):
        return Grant(_pattern(text), usual)
    if not set(named) <= set(OF_SESSIONS):
        raise SettingsError(
            f"{text!r}: admin and operator are rights of the whole key, not of a session: give them with --right"
        )
    return Grant(_pattern(name), check_rights(named))


def _pattern(text: str) -> str:
    return text if text == ALL_SESSIONS else normalise_session(text)


def check_rights(rights: Iterable[str]) -> tuple[Right, ...]:
    """Raises SettingsError for a right that there is not, and for none."""
    given = {rights} if isinstance(rights, str) else set(rights)
    if not given or not given <= set(ALL_RIGHTS):
        raise SettingsError(f"a key's rights are some of {', '.join(ALL_RIGHTS)}")
    return tuple(right for right in ALL_RIGHTS if right in given)


def common(grants: Sequence[Grant]) -> tuple[Right, ...]:
    """Rights that every one of these gives: what a program that knows no grants may take for all of them."""
    return tuple(right for right in OF_SESSIONS if all(right in grant.rights for grant in grants))
