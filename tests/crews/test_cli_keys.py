"""`crewmem keys` and `crewmem producers` on the registry of one machine."""

from __future__ import annotations

import asyncio
import json

import pytest
from crewmem.cli.app import app
from crewmem_producers.connect import open_registry
from crewmem_producers.settings import KafkaSettings, load
from typer.testing import CliRunner, Result


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_key_is_printed_once_and_alone_on_stdout() -> None:
    result = crewmem("keys", "create", "--name", "my crews", "--session", "user-*", "--right", "read")
    assert result.exit_code == 0
    key = result.stdout.strip()
    assert key.startswith("am_live_") and len(key) == 40
    [listed] = json.loads(crewmem("keys", "list", "--json").stdout)
    assert (listed["name"], listed["sessions"], listed["rights"]) == ("my crews", ["user-*"], ["read"])
    assert key not in crewmem("keys", "list").output


def test_a_key_has_no_admin_right_unless_asked_for() -> None:
    made = json.loads(crewmem("keys", "create", "--name", "k", "--session", "*", "--json").stdout)
    assert made["rights"] == ["read", "write"] and made["sessions"] == ["*"] and made["tenant"] == "default"


def test_a_revoked_key_stays_listed_as_revoked_and_cannot_be_revoked_again() -> None:
    crewmem("keys", "create", "--name", "k", "--session", "*")
    crewmem("keys", "create", "--name", "other", "--session", "*")
    ended = json.loads(crewmem("keys", "revoke", "other", "--json").stdout)
    assert ended["name"] == "other" and ended["revoked_at"] and len(ended["hash"]) == 64
    assert "revoked 'k'" in crewmem("keys", "revoke", "k").stdout
    assert "revoked" in crewmem("keys", "list").stdout
    again = crewmem("keys", "revoke", "k")
    assert again.exit_code == 4 and "crewmem keys list" in again.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", ""],
        ["--name", "k", "--right", "root"],
        ["--name", "k", "--session", ""],
        ["--name", "k", "--tenant", "No Tenant"],
        ["--name", "k", "--expires-in-days", "1e300"],
        ["--name", "k", "--expires-in-days", "-1"],
    ],
)
def test_a_key_that_cannot_be_is_refused(arguments: list[str]) -> None:
    result = crewmem("keys", "create", *arguments)
    assert result.exit_code == 2 and result.stderr and not result.stdout


def test_an_expired_key_says_so() -> None:
    crewmem("keys", "create", "--name", "k", "--session", "*", "--expires-in-days", "0")
    assert "expired" in crewmem("keys", "list").stdout


def test_producers_shows_what_relays_reported() -> None:
    report = {"transport": "http", "tenant": "default", "depth": 7, "oldest_seconds": 12.0, "version": "0.1.0"}

    async def reported() -> None:
        registry = open_registry(load(KafkaSettings))
        await registry.start()
        await registry.put("producer/host-a", report | {"seen_at": "2026-01-01T00:00:00Z"})
        await registry.close()

    assert "no producer has reported" in crewmem("producers").stderr
    asyncio.run(reported())
    assert json.loads(crewmem("producers", "--json").stdout)["host-a"]["depth"] == 7
    assert "2026-01-01 00:00:00" in crewmem("producers").stdout


def test_a_key_needs_its_sessions_named_and_the_refusal_says_how() -> None:
    refused = crewmem("keys", "create", "--name", "k")
    assert refused.exit_code == 2 and not refused.stdout
    assert "--session" in refused.stderr and "shared:read" in refused.stderr
    assert json.loads(crewmem("keys", "list", "--json").stdout) == []


def test_rights_by_session_are_made_and_listed() -> None:
    made = crewmem("keys", "create", "--name", "k", "--session", "shared:read", "--session", "project_*:read,write")
    assert made.exit_code == 0 and "shared:read, project_*:read,write" in made.stderr
    assert "shared:read, project_*:read,write" in crewmem("keys", "list").stdout
    [listed] = json.loads(crewmem("keys", "list", "--json").stdout)
    assert listed["grants"] == [
        {"pattern": "shared", "rights": ["read"]}, {"pattern": "project_*", "rights": ["read", "write"]},
    ]  # fmt: skip


def test_admin_is_no_right_of_a_session() -> None:
    refused = crewmem("keys", "create", "--name", "k", "--session", "shared:admin")
    assert refused.exit_code == 2 and "--right" in refused.stderr
