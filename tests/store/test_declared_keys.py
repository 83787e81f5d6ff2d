"""Keys that the settings declare: CREWMEM_ADMIN_KEY and the keys file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import ServiceSettings, load
from crewmem_store import keys
from crewmem_store.service.declared_keys import declare
from support.service import Stack, refused_with, running_stack

KEY = "am_live_" + "0123456789abcdef" * 2


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as running:
        yield running


async def test_the_admin_key_of_the_settings_works_for_its_tenant(stack: Stack, tmp_path: Path) -> None:
    await declare(load(ServiceSettings, home=tmp_path, admin_key=KEY, tenant="acme"), stack.registry, clock=stack.clock)
    assert (await stack.call("GET", "/v1/accounting", key=KEY)).status_code == 200
    assert [key.tenant for key in keys.list_keys(stack.registry)] == ["acme"]


async def test_a_malformed_admin_key_is_told(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="am_live_"):
        await declare(load(ServiceSettings, home=tmp_path, admin_key="secret"), stack.registry, clock=stack.clock)


async def declare_file(stack: Stack, path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    await declare(load(ServiceSettings, home=path.parent, keys_file=path), stack.registry, clock=stack.clock)


async def test_a_keys_file_declares_keys_and_revokes_what_it_drops(stack: Stack, tmp_path: Path) -> None:
    path, by_hand = tmp_path / "keys.yaml", await stack.key(name="by hand")
    await declare_file(stack, path, f"""
- {{name: one, key: {KEY}, tenant: acme, sessions: ["run-*"], rights: [read]}}
- {{name: two, key_sha256: {"ab" * 32}, sessions: ["*"], expires_at: 2027-01-01T00:00:00Z}}
""")  # fmt: skip
    assert (await stack.call("GET", "/v1/memory/list?session=run-1", key=KEY)).status_code == 200
    refused_with(await stack.call("GET", "/v1/memory/list", key=KEY), 403, "forbidden_session")
    one, two = sorted((key for key in keys.list_keys(stack.registry) if key.declared), key=lambda key: key.name)
    assert (two.tenant, two.expires_at) == ("default", "2027-01-01T00:00:00.000000Z")

    await declare_file(stack, path, f"- {{name: one, key: {KEY}, tenant: acme, sessions: ['*'], rights: [read]}}")
    assert (await stack.call("GET", "/v1/memory/list", key=KEY)).status_code == 200
    assert [key.name for key in keys.list_keys(stack.registry) if key.revoked_at] == ["two"]

    await declare_file(stack, path, "")
    refused_with(await stack.call("GET", "/v1/memory/list", key=KEY), 401, "invalid_api_key")
    assert (await stack.call("GET", "/v1/memory/list", key=by_hand)).status_code == 200
    assert one.hash == keys.hash_key(KEY)


@pytest.mark.parametrize(
    "text",
    ["name: x", "- name: x", "- {name: x, key: short}", "- {key: " + KEY + "}", "- {name: x, key: " + KEY + ", right: [read]}",
     "- {name: x, key: " + KEY + ", sessions: [a], rights: [root]}", "- {name: x, sessions: [a], key: " + KEY + ", tenant: No}",
     "- {name: x, key: " + KEY + "}", "- {name: x, key: " + KEY + ", sessions: ['a:admin']}", "{", "- {name: x, key: "
     + KEY + ", sessions: []}", "- {name: x, key: " + KEY + ", key_sha256: " + "ab" * 32 + "}"],
)  # fmt: skip
async def test_a_keys_file_with_a_mistake_is_refused_whole(stack: Stack, tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"keys\.yaml") as caught:
        await declare_file(stack, tmp_path / "keys.yaml", text)
    assert KEY not in str(caught.value)
    assert keys.list_keys(stack.registry) == []


async def test_a_keys_file_that_is_not_there_is_told(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.yaml"):
        settings = load(ServiceSettings, home=tmp_path, keys_file=tmp_path / "gone.yaml")
        await declare(settings, stack.registry, clock=stack.clock)
