"""Sealing and opening: what a key opens, what nobody opens, and what was changed on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from crewmem_producers import data_keys, hpke, master_key
from crewmem_producers.codec import decode, encode
from crewmem_producers.data_keys import DataKeyMaker
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing, MasterRetired, RegistryUnavailable
from crewmem_producers.events import Event, MemoryRemembered, RulesApplied, SessionForgotten
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import Header, LoggedRecord, Record
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.names import Scope
from crewmem_producers.sealed_body import KEY_HEADER, key_id
from crewmem_producers.sealing import Sealer
from support.logged import content_of, remembered_record
from support.registries import DictRegistry


class Place:
    """A registry, its master keys, and a maker of data keys whose clock the test sets."""

    def __init__(self, truth: DictRegistry | None = None) -> None:
        self.registry = truth or DictRegistry()
        self.master = MasterKeys.parse(master_key.generate())
        self.now = datetime(2026, 1, 2, 12, tzinfo=UTC)
        self.sealer = self.another_sealer()
        self.keyring = Keyring(registry=self.registry, master=lambda: self.master)

    def another_sealer(self, registry: DictRegistry | None = None) -> Sealer:
        keys = DataKeyMaker(
            registry=registry or self.registry, public=lambda: self.master.current, maker="m", clock=lambda: self.now
        )
        return Sealer(keys=keys)

    def data_keys(self) -> list[str]:
        return sorted(self.registry.items(data_keys.PREFIX))


def with_header(record: Record, name: str, value: bytes) -> Record:
    headers: Sequence[Header] = [(one, value if one == name else old) for one, old in record.headers]
    return replace(record, headers=tuple(headers))


def content(record: Record | LoggedRecord) -> str:
    body = decode(record).body
    assert isinstance(body, MemoryRemembered)
    return body.content


async def test_a_sealed_body_shows_nothing_and_opens_to_what_it_was() -> None:
    place, plain = Place(), remembered_record(1)
    [sealed] = await place.sealer.seal([plain])
    assert sealed.value != plain.value and sealed.headers[:-1] == plain.headers
    assert len(sealed.value or b"") == len(plain.value or b"") + 12 + 16
    opened = place.keyring.open(sealed)
    assert opened.value == plain.value and content(opened) == content_of(1)
    assert dict(opened.headers)[KEY_HEADER] == dict(sealed.headers)[KEY_HEADER]


async def test_what_is_plain_passes_through_unchanged() -> None:
    place, plain = Place(), remembered_record(1)
    assert place.keyring.open(plain) is plain
    assert Keyring(registry=DictRegistry()).open(plain) is plain


async def test_control_events_and_forgotten_sessions_are_never_sealed() -> None:
    place = Place()
    forgotten = encode(Event(body=SessionForgotten(), scope=Scope.of("default", "s")))
    rules = encode(Event(body=RulesApplied(rules="", sha256=""), scope=None), partition=0)
    assert await place.sealer.seal([forgotten, rules]) == [forgotten, rules]
    assert place.data_keys() == []


async def test_what_is_sealed_already_is_not_sealed_again() -> None:
    place = Place()
    sealed = await place.sealer.seal([remembered_record(1)])
    assert await place.sealer.seal(sealed) == sealed


async def test_one_key_a_session_and_day_is_in_the_registry_before_its_first_use() -> None:
    place = Place()
    first = await place.sealer.seal([remembered_record(1), remembered_record(2), remembered_record(3, session="t")])
    ids = [key_id(record) for record in first]
    assert ids[0] == ids[1] != ids[2] and len(place.data_keys()) == 2
    again = await place.sealer.seal([remembered_record(4)])
    assert key_id(again[0]) == ids[0]
    place.now += timedelta(days=1)
    [tomorrow] = await place.sealer.seal([remembered_record(5)])
    assert key_id(tomorrow) not in ids and len(place.data_keys()) == 3
    value = place.registry.get(f"{data_keys.PREFIX}{ids[0]}")
    assert value is not None and set(value) == {"wrapped", "master", "scope_key", "maker", "created_at"}
    assert set(data_keys.of_scope(place.registry, Scope.of("default", "s").key)) == {ids[0], key_id(tomorrow)}


async def test_two_makers_never_share_a_key() -> None:
    place = Place()
    other = place.another_sealer(DictRegistry(place.registry.truth))
    mine, theirs = await asyncio.gather(place.sealer.seal([remembered_record(1)]), other.seal([remembered_record(2)]))
    assert key_id(mine[0]) != key_id(theirs[0])
    await place.keyring.prepare([])
    await place.registry.refresh()
    assert [content(place.keyring.open(one[0])) for one in (mine, theirs)] == [content_of(1), content_of(2)]


async def test_batches_at_the_same_time_share_one_look_at_the_registry() -> None:
    place = Place()
    await place.sealer.seal([remembered_record(0)])
    before = place.registry.refreshed
    await asyncio.gather(*(place.sealer.seal([remembered_record(number)]) for number in range(1, 50)))
    assert place.registry.refreshed <= before + 2


async def test_a_key_that_was_erased_elsewhere_is_not_used_again() -> None:
    place = Place()
    [sealed] = await place.sealer.seal([remembered_record(1)])
    id = key_id(sealed)
    place.registry.truth[f"{data_keys.PREFIX}{id}"] = {"erased": "2026-01-02T13:00:00Z", "scope_key": "default/x"}
    [after] = await place.sealer.seal([remembered_record(2)])
    assert key_id(after) != id
    with pytest.raises(KeyErased):
        place.keyring.open(sealed)
    assert content(place.keyring.open(after)) == content_of(2)


async def test_an_erased_key_opens_nothing_though_it_was_used_before() -> None:
    place = Place()
    [sealed] = await place.sealer.seal([remembered_record(1)])
    place.keyring.open(sealed)
    await place.registry.put(f"{data_keys.PREFIX}{key_id(sealed)}", {"erased": "now", "scope_key": "default/x"})
    with pytest.raises(KeyErased):
        place.keyring.open(sealed)


async def test_with_the_registry_away_nothing_is_sealed_and_nothing_goes_out_plain() -> None:
    place = Place()
    await place.sealer.seal([remembered_record(1)])
    place.registry.away = True
    with pytest.raises(RegistryUnavailable):
        await place.sealer.seal([remembered_record(2)])


async def test_a_data_key_that_is_not_here_yet_is_waited_for_and_found_by_prepare() -> None:
    place = Place()
    late = Keyring(registry=(view := DictRegistry(place.registry.truth)), master=lambda: place.master)
    [sealed] = await place.sealer.seal([remembered_record(1)])
    with pytest.raises(KeyMissing, match="not in the registry"):
        late.open(sealed)
    logged = LoggedRecord(0, 0, sealed.key, sealed.value, sealed.headers, 0)
    await late.prepare([logged])
    assert content(late.open(logged)) == content_of(1)
    refreshed = view.refreshed
    await late.prepare([logged])
    assert view.refreshed == refreshed


async def test_without_the_right_master_key_an_event_is_waited_for() -> None:
    place = Place()
    [sealed] = await place.sealer.seal([remembered_record(1)])
    with pytest.raises(KeyMissing, match="CREWMEM_MASTER_KEY"):
        Keyring(registry=place.registry).open(sealed)
    other = MasterKeys.parse(master_key.generate())
    with pytest.raises(KeyMissing, match=place.master.current.fingerprint):
        Keyring(registry=place.registry, master=lambda: other).open(sealed)


async def test_a_record_of_the_registry_that_was_changed_is_waited_for() -> None:
    place = Place()
    [sealed] = await place.sealer.seal([remembered_record(1)])
    name = f"{data_keys.PREFIX}{key_id(sealed)}"
    value = dict(place.registry.truth[name])
    for wrapped in ("", "no base64 !", value["wrapped"][:-8] + "AAAAAAA=", None):
        await place.registry.put(name, value | {"wrapped": wrapped})
        with pytest.raises(KeyMissing):
            place.keyring.open(sealed)


async def test_every_flipped_bit_of_the_body_is_a_bad_seal() -> None:
    place = Place()
    [sealed] = await place.sealer.seal([remembered_record(1)])
    value = sealed.value or b""
    for at in range(0, len(value) * 8, 7):
        changed = bytearray(value)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(InvalidEvent) as error:
            place.keyring.open(replace(sealed, value=bytes(changed)))
        assert error.value.reason == "bad_seal"
    for short in (b"", value[:11], value[:12], value[:27]):
        with pytest.raises(InvalidEvent, match="sealed"):
            place.keyring.open(replace(sealed, value=short))


async def test_swapped_headers_and_keys_are_a_bad_seal_and_never_wait() -> None:
    place = Place()
    one, two, other = await place.sealer.seal([remembered_record(1), remembered_record(2), remembered_record(3, session="t")])
    other_id = (key_id(other) or "").encode()
    flipped = bytes([(key_id(one) or "").encode()[0] ^ 1]) + (key_id(one) or "").encode()[1:]
    changed = [
        with_header(one, "ce_id", dict(two.headers)["ce_id"]), replace(one, key=other.key),
        with_header(one, KEY_HEADER, other_id), with_header(one, KEY_HEADER, flipped), with_header(one, KEY_HEADER, b""),
        with_header(one, KEY_HEADER, b"\xff\x00"), replace(one, value=two.value), replace(one, value=other.value),
    ]  # fmt: skip
    for record in changed:
        with pytest.raises(InvalidEvent) as error:
            place.keyring.open(record)
        assert error.value.reason == "bad_seal"


async def test_a_plain_body_under_a_seals_header_and_the_other_way_round_is_no_event() -> None:
    place, plain = Place(), remembered_record(1)
    [sealed] = await place.sealer.seal([plain])
    with pytest.raises(InvalidEvent):
        place.keyring.open(replace(plain, headers=sealed.headers))
    with pytest.raises(InvalidEvent) as error:
        decode(place.keyring.open(replace(sealed, headers=plain.headers)))
    assert error.value.reason == "bad_encoding"


async def test_a_retired_master_key_seals_nothing_more() -> None:
    place = Place()
    [sealed] = await place.sealer.seal([remembered_record(1)])
    place.registry.truth[data_keys.RETIRED + place.master.current.fingerprint] = {"retired": "2026-01-02T12:00:00Z"}
    with pytest.raises(MasterRetired, match="CREWMEM_MASTER_PUBLIC_KEY"):
        await place.sealer.seal([remembered_record(2)])
    assert content(place.keyring.open(sealed)) == content_of(1)


async def test_nonces_never_repeat() -> None:
    place = Place()
    sealed = await place.sealer.seal([remembered_record(7)] * 2000)
    assert len({(record.value or b"")[:12] for record in sealed}) == 2000


async def test_no_key_is_in_any_error_or_repr() -> None:
    text = master_key.generate()
    digits = text.removeprefix(master_key.PRIVATE)
    said = [repr(MasterKeys.parse(text))]
    for wrong in (text[:-1], text[:-1] + "g", digits, text + "0", text.replace("a", "b"), ""):
        with pytest.raises(ValueError) as error:
            master_key.check(wrong)
        said.append(str(error.value))
    assert not any(digits[:8] in one for one in said)


def test_a_secret_opens_only_with_its_key_and_its_info() -> None:
    private = hpke.generate()
    wrapped = hpke.wrap(b"secret", public=hpke.public_half(private), info=b"one")
    assert hpke.unwrap(wrapped, private=private, info=b"one") == b"secret"
    for key, info in ((private, b"two"), (hpke.generate(), b"one")):
        with pytest.raises(KeyMissing):
            hpke.unwrap(wrapped, private=key, info=info)
    with pytest.raises(KeyMissing):
        hpke.unwrap(b"short", private=private, info=b"one")
