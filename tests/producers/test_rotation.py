"""Moving to another master key while others seal and open, also when the move is cut off."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crewmem_producers import data_keys, master_key, openers, rotation
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_keyring, open_sealer
from crewmem_producers.data_keys import DataKeyMaker
from crewmem_producers.errors import KeyMissing, MasterRetired, NewKeyUnknown, RegistryUnavailable, SettingsError
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import Record
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.registry import Value
from crewmem_producers.sealed_body import key_id
from crewmem_producers.sealing import Sealer
from crewmem_producers.settings import KafkaSettings, load
from support.awaiting import until
from support.logged import remembered_record
from support.registries import DictRegistry

OLD, NEW = master_key.generate(), master_key.generate()
BOTH = f"{NEW} {OLD}"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def sealer(registry: DictRegistry, text: str = OLD) -> Sealer:
    public = MasterKeys.parse(text).current
    return Sealer(keys=DataKeyMaker(registry=registry, public=lambda: public, maker="m"))


def keyring(registry: DictRegistry, text: str) -> Keyring:
    held = MasterKeys.parse(text)
    return Keyring(registry=registry, master=lambda: held)


async def sealed(registry: DictRegistry, *sessions: str) -> list[Record]:
    return await sealer(registry).seal([remembered_record(1, session=session) for session in sessions])


class Dying(DictRegistry):
    """Takes `puts` writes, then the process is dead."""

    def __init__(self, truth: dict[str, Value], puts: int) -> None:
        super().__init__(truth)
        self.puts = puts

    async def put(self, key: str, value: Value) -> None:
        self.puts -= 1
        if self.puts < 0:
            raise RegistryUnavailable("killed")
        await super().put(key, value)


async def test_after_a_rotation_the_new_key_alone_opens_what_was_sealed_before() -> None:
    registry = DictRegistry()
    records = await sealed(registry, "a", "b", "c")
    seen: list[tuple[int, int]] = []
    done = await rotation.rotate(
        registry, MasterKeys.parse(BOTH), now=NOON, progress=lambda at, total: seen.append((at, total))
    )
    assert (done.rewrapped, done.left, seen[-1]) == (3, {}, (3, 3))
    for record in records:
        decode(keyring(registry, NEW).open(record))
        with pytest.raises(KeyMissing):
            keyring(registry, OLD).open(record)
    assert (await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)).rewrapped == 0


async def test_an_opener_with_both_keys_opens_before_during_and_after_every_step() -> None:
    registry = DictRegistry()
    records = await sealed(registry, *"abcdef")

    def look(done: int, total: int) -> None:
        for record in records:
            decode(keyring(registry, BOTH).open(record))

    look(0, 0)
    await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON, progress=look)


async def test_a_rotation_that_was_killed_after_any_write_goes_on_where_it_was() -> None:
    for puts in range(4):
        registry = DictRegistry()
        records = await sealed(registry, "a", "b", "c")
        if puts < 3:
            with pytest.raises(RegistryUnavailable):
                await rotation.rotate(Dying(registry.truth, puts), MasterKeys.parse(BOTH), now=NOON)
        else:
            await rotation.rotate(Dying(registry.truth, puts), MasterKeys.parse(BOTH), now=NOON)
        await registry.refresh()
        for record in records:
            decode(keyring(registry, BOTH).open(record))
        assert (await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)).rewrapped == 3 - puts
        for record in records:
            decode(keyring(registry, NEW).open(record))


async def test_data_keys_of_a_master_key_that_is_not_held_are_named() -> None:
    registry, third = DictRegistry(), master_key.generate()
    await sealed(registry, "a")
    await sealer(registry, third).seal([remembered_record(1, session="b")])
    done = await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)
    assert done.rewrapped == 1 and done.left == {MasterKeys.parse(third).current.fingerprint: 1}


@pytest.mark.parametrize("name", ["wrapped", "master", "scope_key"])
@pytest.mark.parametrize("odd", [None, 3, "bm90IHdyYXBwZWQ=", "\u00fc"])
async def test_a_damaged_data_key_is_passed_over_and_named_and_the_others_move(name: str, odd: object) -> None:
    registry = DictRegistry()
    [damaged, whole] = await sealed(registry, "a", "b")
    key = f"{data_keys.PREFIX}{key_id(damaged)}"
    value = {**(registry.get(key) or {}), name: odd}
    await registry.put(key, {name: one for name, one in value.items() if one is not None})
    done = await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)
    assert done.rewrapped == 1
    assert done.damaged == (key_id(damaged),) or list(done.left) == [odd], "of another master key, as far as can be told"
    decode(keyring(registry, NEW).open(whole))


async def test_erased_data_keys_are_left_alone() -> None:
    registry = DictRegistry()
    [record] = await sealed(registry, "a")
    erased = {"erased": "2026-01-02T12:00:00Z", "scope_key": "default/x"}
    await registry.put(f"{data_keys.PREFIX}{key_id(record)}", erased)
    assert (await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)).rewrapped == 0
    assert registry.get(f"{data_keys.PREFIX}{key_id(record)}") == erased


async def test_it_is_refused_while_somebody_who_opens_does_not_hold_the_new_key() -> None:
    registry = DictRegistry()
    await sealed(registry, "a")
    old, both = MasterKeys.parse(OLD).fingerprints, MasterKeys.parse(BOTH).fingerprints
    await registry.put(f"{openers.PREFIX}host-a/1", {"masters": list(old), "seen_at": NOON.isoformat()})
    await registry.put(f"{openers.PREFIX}host-b/1", {"masters": list(both), "seen_at": NOON.isoformat()})
    with pytest.raises(NewKeyUnknown, match="host-a/1"):
        await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)
    assert {value["master"] for value in registry.items(data_keys.PREFIX).values()} == set(old)
    later = NOON + openers.GONE_AFTER + timedelta(seconds=1)
    assert (await rotation.rotate(registry, MasterKeys.parse(BOTH), now=later)).rewrapped == 1


async def test_what_was_sealed_for_the_old_key_until_it_was_retired_opens_with_the_new_one() -> None:
    registry = DictRegistry()
    mine = sealer(DictRegistry(registry.truth))
    [first] = await mine.seal([remembered_record(1)])
    await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)
    [between] = await mine.seal([remembered_record(2, session="other")])
    retired = await rotation.retire(registry, MasterKeys.parse(BOTH), now=NOON)
    assert retired == MasterKeys.parse(OLD).fingerprints
    with pytest.raises(MasterRetired):
        await mine.seal([remembered_record(3)])
    assert (await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)).rewrapped == 1
    [after] = await sealer(registry, NEW).seal([remembered_record(4)])
    for record in (first, between, after):
        decode(keyring(registry, NEW).open(record))


async def test_a_key_file_that_changes_is_read_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    registry, path = DictRegistry(), tmp_path / "master_key"
    path.write_text(OLD + "\n")
    settings = load(KafkaSettings, home=tmp_path)
    mine, opener = open_sealer(settings, registry), open_keyring(settings, registry)
    assert mine is not None
    [first] = await mine.seal([remembered_record(1)])
    path.write_text(f"{NEW}\n{OLD}\n")
    await rotation.rotate(registry, MasterKeys.parse(BOTH), now=NOON)
    [second] = await mine.seal([remembered_record(2)])
    assert key_id(first) != key_id(second)
    assert opener.masters() == MasterKeys.parse(BOTH).fingerprints
    path.write_text("half a k")
    assert opener.masters() == MasterKeys.parse(BOTH).fingerprints
    path.unlink()
    for record in (first, second):
        decode(opener.open(record))


async def test_a_process_says_which_keys_it_holds_and_says_it_again_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openers, "LOOK_SECONDS", 0.01)
    registry, held = DictRegistry(), [MasterKeys.parse(OLD)]
    ring = Keyring(registry=registry, master=lambda: held[0])
    said = asyncio.create_task(openers.announce(registry, ring, source="host", clock=lambda: NOON))
    old, new = (MasterKeys.parse(text).current.fingerprint for text in (OLD, NEW))
    try:
        await until(lambda: bool(registry.items(openers.PREFIX)), what="the first word")
        assert openers.unaware(registry, old, now=NOON) == [] and len(openers.unaware(registry, new, now=NOON)) == 1
        registry.away = True
        held[0] = MasterKeys.parse(BOTH)
        registry.away = False
        await until(lambda: openers.unaware(registry, new, now=NOON) == [], what="the second word")
    finally:
        said.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await said


async def test_a_public_half_that_fits_no_key_here_is_a_settings_error(tmp_path: Path) -> None:
    other = MasterKeys.parse(NEW).current.text
    settings = load(KafkaSettings, home=tmp_path, master_key=OLD, master_public_key=other)
    with pytest.raises(SettingsError, match="CREWMEM_MASTER_PUBLIC_KEY"):
        open_sealer(settings, DictRegistry())


@pytest.mark.parametrize("name", ["master_key", "master_public_key"])
def test_a_key_with_a_slip_in_it_is_a_settings_error_that_does_not_show_it(tmp_path: Path, name: str) -> None:
    text = OLD if name == "master_key" else MasterKeys.parse(OLD).current.text
    digits = text[-72:]
    wrong = text[:-9] + ("0" if text[-9] != "0" else "1") + text[-8:]
    for value in (wrong, text[:-1], "secret"):
        with pytest.raises(SettingsError, match=f"CREWMEM_{name.upper()}") as error:
            load(KafkaSettings, home=tmp_path, **{name: value})
        assert digits[:12] not in str(error.value)
