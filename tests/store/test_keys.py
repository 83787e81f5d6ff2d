from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers.errors import InvalidName, SettingsError
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.started import started
from crewmem_store import keys
from crewmem_store.errors import InvalidKey, UnknownKey
from crewmem_store.keys import ALL_RIGHTS, Key, Right

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def clock() -> datetime:
    return NOW


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[SqliteRegistry]:
    async with started(SqliteRegistry(tmp_path / "log.sqlite3", namespace="crewmem")) as registry:
        yield registry


USUAL: dict[str, Any] = {"sessions": ["*"], "rights": ["read", "write"]}


def key_for(*patterns: str) -> Key:
    return Key(hash="0" * 64, tenant="acme", name="k", sessions=patterns, rights=ALL_RIGHTS, created_at="2026-11-23T00:00:00Z")


async def test_a_created_key_looks_as_agreed_and_is_known_again(registry: SqliteRegistry) -> None:
    made = await keys.create(registry, tenant="acme", name="research", rights=["read"], sessions=["user-*"], clock=clock)
    assert made.startswith("am_live_") and len(made) == len("am_live_") + 32
    found = keys.authenticate(registry, made, NOW)
    assert (found.tenant, found.name, found.sessions, found.rights) == ("acme", "research", ("user-*",), (Right.READ,))


async def test_the_registry_holds_no_key_only_its_hash(registry: SqliteRegistry) -> None:
    made = await keys.create(registry, tenant="acme", name="research", **USUAL, clock=clock)
    [(name, value)] = registry.items("").items()
    assert name == f"apikey/{keys.hash_key(made)}"
    assert made not in repr(value) and made.removeprefix("am_live_") not in repr((name, value))


async def test_a_key_expires(registry: SqliteRegistry) -> None:
    made = await keys.create(registry, tenant="acme", name="k", **USUAL, expires_at=NOW + timedelta(days=1), clock=clock)
    assert keys.authenticate(registry, made, NOW)
    with pytest.raises(InvalidKey):
        keys.authenticate(registry, made, NOW + timedelta(days=1))


@pytest.mark.parametrize("by", ["name", "key", "hash"])
async def test_a_revoked_key_is_refused_and_stays_so(registry: SqliteRegistry, by: str) -> None:
    made = await keys.create(registry, tenant="acme", name="k", **USUAL, clock=clock)
    await keys.revoke(registry, {"name": "k", "key": made, "hash": keys.hash_key(made)[:12]}[by], clock=clock)
    with pytest.raises(InvalidKey):
        keys.authenticate(registry, made, NOW)
    await keys.create(registry, tenant="acme", name="k", **USUAL, key=made, clock=clock)
    with pytest.raises(InvalidKey):
        keys.authenticate(registry, made, NOW)
    assert [key.revoked_at is not None for key in keys.list_keys(registry)] == [True]


async def test_revoking_needs_one_key_that_is_meant(registry: SqliteRegistry) -> None:
    first = await keys.create(registry, tenant="acme", name="twin", **USUAL, clock=clock)
    await keys.create(registry, tenant="acme", name="twin", **USUAL, clock=clock)
    for reference in ("twin", "nobody", "am_live_" + "0" * 32):
        with pytest.raises(UnknownKey) as caught:
            await keys.revoke(registry, reference, clock=clock)
        assert "am_live_0" not in str(caught.value)
    await keys.revoke(registry, first, clock=clock)
    await keys.revoke(registry, "twin", clock=clock)


async def test_keys_are_listed_by_tenant(registry: SqliteRegistry) -> None:
    await keys.create(registry, tenant="acme", name="one", **USUAL, clock=clock)
    await keys.create(registry, tenant="other", name="two", **USUAL, clock=clock)
    assert [key.name for key in keys.list_keys(registry, tenant="other")] == ["two"]
    assert len(keys.list_keys(registry)) == 2


@pytest.mark.parametrize(
    ("pattern", "session", "allowed"),
    [
        ("*", "anything", True),
        ("user-*", "user-7", True),
        ("user-*", "user-", True),
        ("user-*", "super-user-7", False),
        ("run-1", "run-10", False),
        ("run-1", "run-1", True),
        ("a?", "ab", False),
        ("a?", "a?", True),
        ("[ab]", "a", False),
        ("a.b", "axb", False),
        ("*/b", "a/b", True),
        ("User", "user", False),
    ],
)
def test_only_the_star_of_a_pattern_is_special(pattern: str, session: str, allowed: bool) -> None:
    assert key_for(pattern).allows(session, Right.READ) is allowed
    assert key_for("nothing else", pattern).allows(session, Right.WRITE) is allowed


@pytest.mark.parametrize(
    "wrong", [{"rights": []}, {"rights": ["root"]}, {"sessions": []}, {"sessions": "user-*"}, {"name": ""}, {"name": "a\nb"},
              {"key": "am_live_short"}, {"key": "sk-" + "0" * 32}]
)  # fmt: skip
async def test_a_key_that_makes_no_sense_is_refused(registry: SqliteRegistry, wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        await keys.create(registry, **({"tenant": "acme", "name": "k", "clock": clock} | USUAL | wrong))  # type: ignore[arg-type]
    assert registry.items("") == {}


async def test_a_tenant_that_cannot_be_is_refused(registry: SqliteRegistry) -> None:
    with pytest.raises(InvalidName):
        await keys.create(registry, tenant="Acme Inc", name="k", **USUAL, clock=clock)


async def test_a_record_of_a_newer_program_is_read(registry: SqliteRegistry) -> None:
    made = await keys.create(registry, tenant="acme", name="k", **USUAL, clock=clock)
    name = f"apikey/{keys.hash_key(made)}"
    await registry.put(name, {**(registry.get(name) or {}), "colour": "blue"})
    assert keys.authenticate(registry, made, NOW).name == "k"
