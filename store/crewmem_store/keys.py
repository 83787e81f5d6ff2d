"""API keys: who may ask for what. The registry holds each key's SHA-256, never the key.

A record `apikey/<sha256>` is `{tenant, name, sessions, rights, created_at, expires_at, revoked_at, declared}`, and `grants`, a
list of `{pattern, rights}`, where the patterns of `sessions` differ in their rights: `rights` then has those that all of them
give, so that a program which does not know `grants` allows less, never more. The right `operator` is the field `operator`,
since older programs cannot read a right that they do not know. Once revoked, a key stays revoked.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

from crewmem_producers.codec import format_time
from crewmem_producers.errors import SettingsError
from crewmem_producers.events import utc_now
from crewmem_producers.names import ALL_SESSIONS, check_tenant
from crewmem_producers.registry import Registry
from crewmem_producers.writer import of_key

from crewmem_store.errors import InvalidKey, UnknownKey
from crewmem_store.grants import ALL_RIGHTS as ALL_RIGHTS
from crewmem_store.grants import OF_SESSIONS, Grant, check_rights, common, matches, parse
from crewmem_store.grants import Right as Right

PREFIX = "apikey/"
MARK = "am_live_"
EVERY_SESSION = (ALL_SESSIONS,)
_KEY = re.compile(MARK + r"[0-9a-f]{32}")
_MAX_NAME = 200


@dataclass(frozen=True)
class Key:
    """One API key as the registry holds it. `hash` is the SHA-256 of the key, hex; times are RFC 3339, UTC.

    `sessions` are its session patterns, `rights` what it may do in all of them. `grants` say which rights each pattern gives
    where they differ; without any, each gives `rights`. `declared`: a keys file holds it.
    """

    hash: str
    tenant: str
    name: str
    sessions: tuple[str, ...]
    rights: tuple[Right, ...]
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    declared: bool = False
    grants: tuple[Grant, ...] = ()

    @classmethod
    def parse(cls, registry_key: str, value: Mapping[str, Any]) -> Self:
        """From its registry record; fields of a newer program are left out."""
        return cls(
            hash=registry_key.removeprefix(PREFIX),
            tenant=value["tenant"],
            name=value["name"],
            sessions=tuple(value["sessions"]),
            rights=_known(value["rights"]) + ((Right.OPERATOR,) if value.get("operator") else ()),
            created_at=value["created_at"],
            expires_at=value.get("expires_at"),
            revoked_at=value.get("revoked_at"),
            declared=bool(value.get("declared")),
            grants=tuple(Grant(grant["pattern"], _known(grant["rights"])) for grant in value.get("grants", ())),
        )

    @property
    def writer(self) -> str:
        """How events that this key writes name it."""
        return of_key(self.hash, self.name)

    @property
    def session_grants(self) -> tuple[Grant, ...]:
        """What each session pattern gives."""
        of_sessions = tuple(right for right in self.rights if right in OF_SESSIONS)
        return self.grants or tuple(Grant(pattern, of_sessions) for pattern in self.sessions)

    def may(self, right: Right) -> bool:
        """Whether the key has that right, READ and WRITE in some session at least. OPERATOR includes ADMIN."""
        if right is Right.ADMIN and Right.OPERATOR in self.rights:
            return True
        return right in self.rights or any(right in grant.rights for grant in self.grants)

    def allows(self, session: str, right: Right) -> bool:
        """Whether the key may do that (READ or WRITE) in that (normalised) session."""
        return any(right in grant.rights and matches(grant.pattern, session) for grant in self.session_grants)

    def lives(self, now: datetime) -> bool:
        """Neither revoked nor expired at `now` (aware)."""
        return self.revoked_at is None and (self.expires_at is None or now < datetime.fromisoformat(self.expires_at))

    def record(self) -> dict[str, Any]:
        """Its registry record."""
        said = {name: value for name, value in asdict(self).items() if name != "hash" and (name != "grants" or value)}
        said["rights"] = tuple(right for right in self.rights if right is not Right.OPERATOR)
        return said | ({"operator": True} if Right.OPERATOR in self.rights else {})


def _known(rights: Iterable[str]) -> tuple[Right, ...]:
    """Rights of a record; those of a newer program are left out."""
    return tuple(Right(right) for right in rights if right in ALL_RIGHTS)


def make_key(token_hex: Callable[[int], str] = secrets.token_hex) -> str:
    """A new key: `am_live_` and 32 hex digits."""
    return MARK + token_hex(16)


def hash_key(key: str) -> str:
    """SHA-256 of the key in hex: what the registry holds of it. Takes any text, since anything may be sent as a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def create(
    registry: Registry,
    *,
    tenant: str,
    name: str,
    sessions: Iterable[str],
    rights: Iterable[str],
    expires_at: datetime | None = None,
    key: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> str:
    """Puts a key into the registry and returns it: the only time that it can be seen.

    A session pattern may carry rights of its own, `shared:read`; the others give those of `rights`. `key` is one that was made
    elsewhere (CREWMEM_ADMIN_KEY); such a key that is there already gets the new fields but stays revoked if it was.
    Raises SettingsError for a malformed key, name, pattern or right, InvalidName for a tenant.
    """
    key = check_key(key or make_key())
    made = Key(
        hash=hash_key(key),
        tenant=check_tenant(tenant),
        name=check_name(name),
        **granted(sessions, rights),
        created_at=format_time(clock()),
        expires_at=format_time(expires_at) if expires_at else None,
    )
    await put(registry, made)
    return key


async def put(registry: Registry, key: Key) -> None:
    """Writes the key unless the registry holds just that; when it was created and when it was revoked stay."""
    before = registry.get(PREFIX + key.hash)
    if before is not None:
        key = replace(key, created_at=before["created_at"], revoked_at=before.get("revoked_at"))
    if before is None or Key.parse(PREFIX + key.hash, before) != key:
        await registry.put(PREFIX + key.hash, key.record())


def list_keys(registry: Registry, *, tenant: str | None = None) -> list[Key]:
    """Every key, revoked ones too, oldest first; of one tenant if it is given."""
    found = [Key.parse(name, value) for name, value in registry.items(PREFIX).items()]
    return sorted((key for key in found if tenant in (None, key.tenant)), key=lambda key: (key.created_at, key.hash))


async def revoke(registry: Registry, reference: str, *, clock: Callable[[], datetime] = utc_now) -> Key:
    """Revokes the one key that has this name, is this key, or whose hash starts so (at least 8 digits).

    Raises UnknownKey when there is none, or when the name is that of several keys.
    """
    by_hash = re.fullmatch(r"[0-9a-f]{8,64}", reference) is not None
    found = [
        key
        for key in list_keys(registry)
        if key.name == reference or key.hash == hash_key(reference) or (by_hash and key.hash.startswith(reference))
    ]
    living = [key for key in found if key.revoked_at is None]
    if len(living) != 1:
        problem = f"{len(living)} keys are meant by" if living else "no key that is not revoked has the name or hash"
        raise UnknownKey(f"{problem} {_shown(reference)!r}; `crewmem keys list` shows names and hashes")
    revoked = replace(living[0], revoked_at=format_time(clock()))
    await registry.put(PREFIX + revoked.hash, revoked.record())
    return revoked


def authenticate(registry: Registry, key: str, now: datetime) -> Key:
    """The key's record. Raises InvalidKey for one that is unknown, malformed, expired or revoked."""
    name = PREFIX + hash_key(key)
    value = registry.get(name)
    found = Key.parse(name, value) if value is not None else None
    if found is None or not found.lives(now):
        raise InvalidKey("this API key is unknown, expired or revoked; `crewmem keys create` makes a new one")
    return found


def check_key(key: str) -> str:
    """The key as given. Raises SettingsError unless it is `am_live_` and 32 hex digits."""
    if not _KEY.fullmatch(key):
        raise SettingsError(f"an API key is {MARK} and 32 hex digits; `crewmem keys create` makes one")
    return key


def granted(sessions: Iterable[str], rights: Iterable[str]) -> dict[str, Any]:
    """The fields `sessions`, `rights` and `grants` of a key. Raises SettingsError, InvalidName."""
    checked = check_rights(rights)
    grants = parse(sessions, rights=checked)
    patterns = tuple(grant.pattern for grant in grants)
    if len({grant.rights for grant in grants}) == 1:
        of_key = tuple(right for right in checked if right not in OF_SESSIONS)
        return {"sessions": patterns, "rights": grants[0].rights + of_key, "grants": ()}
    kept = common(grants) + tuple(right for right in checked if right not in OF_SESSIONS)
    return {"sessions": patterns, "rights": kept, "grants": grants}


def check_name(name: str) -> str:
    """A key's name, stripped. Raises SettingsError."""
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= _MAX_NAME or not name.isprintable():
        raise SettingsError(f"a key's name has 1 to {_MAX_NAME} printable characters")
    return name.strip()


def _shown(reference: str) -> str:
    """A whole key is never repeated in a message."""
    return f"{MARK}..." if reference.startswith(MARK) else reference
