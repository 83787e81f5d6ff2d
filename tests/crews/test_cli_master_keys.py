"""`crewmem keys master`, `crewmem keys rotate-master`, what `doctor` says of sealing, and the key that `up` makes once."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem.cli.errors import MasterKeyLost
from crewmem.cli.first_master_key import first_master_key
from crewmem.cli.sealing_check import sealing
from crewmem_producers import data_keys, master_key, openers
from crewmem_producers.codec import decode, format_time
from crewmem_producers.connect import open_keyring, open_registry, open_sealer
from crewmem_producers.events import utc_now
from crewmem_producers.log import Record
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.registry import Registry
from crewmem_producers.settings import MASTER_KEY_NAME, KafkaSettings, load
from support.logged import remembered_record
from support.registries import DictRegistry
from typer.testing import CliRunner, Result

OLD, NEW = master_key.generate(), master_key.generate()


def crewmem(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environment)


def on_the_registry(work: Callable[[Registry], Awaitable[None]]) -> None:
    async def run() -> None:
        registry = open_registry(load(KafkaSettings))
        await registry.start()
        try:
            await work(registry)
        finally:
            await registry.close()

    asyncio.run(run())


def seal(*sessions: str, key: str = OLD) -> list[Record]:
    found: list[Record] = []

    async def work(registry: Registry) -> None:
        sealer = open_sealer(load(KafkaSettings, master_key=key), registry)
        assert sealer is not None
        found.extend(await sealer.seal([remembered_record(1, session=session) for session in sessions]))

    on_the_registry(work)
    return found


def test_a_master_key_can_be_made_and_shown_as_json() -> None:
    made = json.loads(crewmem("keys", "master", "--json").stdout)
    assert MasterKeys.parse(made["key"]).current.text == made["public"]
    shown = crewmem("keys", "master", "--public", "--json", CREWMEM_MASTER_KEY=made["key"])
    assert json.loads(shown.stdout) == {"public": made["public"], "fingerprint": made["fingerprint"]}


def test_a_pair_is_made_with_the_private_half_alone_on_stdout() -> None:
    made = crewmem("keys", "master")
    key = made.stdout.strip()
    public = MasterKeys.parse(key).current
    assert made.exit_code == 0 and public.text in made.stderr and "keep a copy" in made.stderr
    shown = crewmem("keys", "master", "--public", CREWMEM_MASTER_KEY=key)
    assert shown.stdout.strip() == public.text


def test_after_a_rotation_the_new_key_alone_opens_and_the_old_one_can_go() -> None:
    records = seal("a", "b")
    done = crewmem("keys", "rotate-master", CREWMEM_MASTER_KEY=f"{NEW} {OLD}")
    assert done.exit_code == 0 and "2 data keys" in done.stdout and "--retire" in done.stderr
    done = crewmem("keys", "rotate-master", "--retire", "--json", CREWMEM_MASTER_KEY=f"{NEW},{OLD}")
    assert json.loads(done.stdout)["retired"] == list(MasterKeys.parse(OLD).fingerprints)
    assert "can be destroyed" in done.stderr and OLD[-20:] not in done.output

    async def look(registry: Registry) -> None:
        for record in records:
            decode(open_keyring(load(KafkaSettings, master_key=NEW), registry).open(record))

    on_the_registry(look)


def test_a_rotation_is_refused_while_a_consumer_does_not_hold_the_new_key() -> None:
    seal("a")

    async def say(registry: Registry) -> None:
        held = list(MasterKeys.parse(OLD).fingerprints)
        await registry.put(f"{openers.PREFIX}host-a/7", {"masters": held, "seen_at": format_time(utc_now())})

    on_the_registry(say)
    done = crewmem("keys", "rotate-master", CREWMEM_MASTER_KEY=f"{NEW} {OLD}")
    assert done.exit_code == 4 and "host-a/7" in done.stderr and "CREWMEM_MASTER_KEY" in done.stderr


def test_data_keys_of_a_key_that_is_not_here_are_named_and_the_exit_code_says_so() -> None:
    seal("a")
    seal("b", key=(third := master_key.generate()))
    done = crewmem("keys", "rotate-master", CREWMEM_MASTER_KEY=f"{NEW} {OLD}")
    assert done.exit_code == 4 and MasterKeys.parse(third).current.fingerprint in done.stderr


def test_a_damaged_data_key_is_named_and_stops_no_rotation() -> None:
    seal("a", "b")

    async def damage(registry: Registry) -> None:
        await registry.put(f"{data_keys.PREFIX}0123abcd", {"wrapped": "?"})

    on_the_registry(damage)
    done = crewmem("keys", "rotate-master", CREWMEM_MASTER_KEY=f"{NEW} {OLD}")
    assert done.exit_code == 0 and "2 data keys" in done.stdout and "0123abcd" in done.stderr


@pytest.mark.parametrize("environment", [{}, {"CREWMEM_MASTER_KEY": NEW}, {"CREWMEM_MASTER_KEY": NEW[:-1]}])
def test_without_both_keys_a_rotation_is_a_usage_error(environment: dict[str, str]) -> None:
    done = crewmem("keys", "rotate-master", **environment)
    assert done.exit_code == 2 and "CREWMEM_MASTER_KEY" in done.stderr and NEW[-20:-1] not in done.output


def test_config_show_masks_the_private_half() -> None:
    shown = crewmem("config", "show", CREWMEM_MASTER_KEY=NEW)
    assert shown.exit_code == 0 and "MASTER_KEY" in shown.output and NEW[15:40] not in shown.output


def test_the_first_master_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    settings, registry = load(KafkaSettings, home=tmp_path), DictRegistry()
    assert first_master_key(settings, registry)
    path = tmp_path / MASTER_KEY_NAME
    kept = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and MasterKeys.parse(kept)
    assert not first_master_key(settings, registry) and path.read_text() == kept
    assert not first_master_key(load(KafkaSettings, home=tmp_path / "other", master_key=NEW), registry)


async def test_a_master_key_that_was_lost_is_not_replaced_in_silence(tmp_path: Path) -> None:
    registry = DictRegistry()
    sealer = open_sealer(load(KafkaSettings, home=tmp_path, master_key=OLD), registry)
    assert sealer is not None
    await sealer.seal([remembered_record(1)])
    with pytest.raises(MasterKeyLost, match="put it back"):
        first_master_key(load(KafkaSettings, home=tmp_path), registry)
    for name, value in registry.items(data_keys.PREFIX).items():
        await registry.put(name, {"erased": "2026-01-02T12:00:00Z", "scope_key": value["scope_key"]})
    assert first_master_key(load(KafkaSettings, home=tmp_path), registry)


async def test_doctor_says_whether_the_log_is_sealed_and_opens_here(tmp_path: Path) -> None:
    registry = DictRegistry()
    plain, sealed = load(KafkaSettings, home=tmp_path), load(KafkaSettings, home=tmp_path, master_key=OLD)
    public = load(KafkaSettings, home=tmp_path, master_public_key=MasterKeys.parse(OLD).current.text)
    said = sealing(plain, registry)
    assert said.state == "warn" and "crewmem keys master" in said.remedy
    sealer = open_sealer(sealed, registry)
    assert sealer is not None
    await sealer.seal([remembered_record(1)])
    assert (sealing(sealed, registry).state, sealing(public, registry).state) == ("ok", "ok")
    assert sealing(plain, registry).state == "warn"
    other = sealing(load(KafkaSettings, home=tmp_path, master_key=NEW), registry)
    assert other.state == "fail" and MasterKeys.parse(OLD).current.fingerprint in other.said
    await registry.put(data_keys.RETIRED + MasterKeys.parse(OLD).current.fingerprint, {"retired": "now"})
    assert sealing(public, registry).state == "fail"
