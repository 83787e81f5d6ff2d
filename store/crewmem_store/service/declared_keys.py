"""Keys that settings declare: CREWMEM_ADMIN_KEY, and the YAML file that CREWMEM_KEYS_FILE names.

    - name: research crews
      key: am_live_0123456789abcdef0123456789abcdef     # or key_sha256: its SHA-256, in hex
      tenant: acme                                      # default: CREWMEM_TENANT
      sessions: ["shared:read", "project_*"]            # patterns, each with rights of its own or those of the key
      rights: [read, write]                             # default: read, write; admin sees the accounting
      expires_at: 2027-01-01T00:00:00Z                  # default: never

A key that the file held once and holds no more is revoked when the service starts again. CREWMEM_ADMIN_KEY only adds a key:
another value leaves the one before it valid, and one that was revoked stays so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import yaml
from crewmem_producers.codec import format_time
from crewmem_producers.errors import CrewmemError, SettingsError
from crewmem_producers.names import check_tenant
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ServiceSettings
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from crewmem_store import keys
from crewmem_store.grants import ALL_RIGHTS, OF_SESSIONS
from crewmem_store.keys import EVERY_SESSION, Key

ADMIN_NAME = "CREWMEM_ADMIN_KEY"


class Entry(BaseModel):
    """One key of the file."""

    model_config = ConfigDict(extra="forbid")
    name: str
    key: str | None = None
    key_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    tenant: str | None = None
    sessions: list[str]
    rights: list[str] = list(OF_SESSIONS)
    expires_at: datetime | None = None


async def declare(settings: ServiceSettings, registry: Registry, *, clock: Callable[[], datetime]) -> None:
    """Makes the registry hold what the settings declare. Raises SettingsError for a key or file that cannot be used."""
    if settings.admin_key is not None:
        key = settings.admin_key.get_secret_value()
        await keys.create(
            registry, tenant=settings.tenant, name=ADMIN_NAME, sessions=EVERY_SESSION, rights=ALL_RIGHTS, key=key, clock=clock
        )
    if settings.keys_file is not None:
        await _declare_file(settings.keys_file, registry, tenant=settings.tenant, now=clock())


async def _declare_file(path: Path, registry: Registry, *, tenant: str, now: datetime) -> None:
    declared = read(path, tenant=tenant, now=now)
    for key in declared:
        await keys.put(registry, key)
    kept = {key.hash for key in declared}
    for key in keys.list_keys(registry):
        if key.declared and key.revoked_at is None and key.hash not in kept:
            await registry.put(keys.PREFIX + key.hash, replace(key, revoked_at=format_time(now)).record())


def read(path: Path, *, tenant: str, now: datetime) -> list[Key]:
    """The keys of the file. Raises SettingsError that names the file and the entry."""
    try:
        entries = TypeAdapter(list[Entry]).validate_python(yaml.safe_load(path.read_text("utf-8")) or [])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return [_key(entry, path=path, tenant=tenant, now=now) for entry in entries]


def _key(entry: Entry, *, path: Path, tenant: str, now: datetime) -> Key:
    if (entry.key is None) is (entry.key_sha256 is None):
        raise SettingsError(f"{path}: {entry.name!r} has either `key` or `key_sha256`")
    try:
        return Key(
            hash=entry.key_sha256 or keys.hash_key(keys.check_key(entry.key or "")),
            tenant=check_tenant(entry.tenant or tenant),
            name=keys.check_name(entry.name),
            **keys.granted(entry.sessions, entry.rights),
            created_at=format_time(now),
            expires_at=format_time(_aware(entry.expires_at)) if entry.expires_at else None,
            declared=True,
        )
    except CrewmemError as error:
        raise SettingsError(f"{path}: {entry.name!r}: {error}") from error


def _aware(time: datetime) -> datetime:
    """YAML drops the zone of a time that has one: it is UTC then."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)
