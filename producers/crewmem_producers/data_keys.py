"""Data keys: what bodies are sealed with. One a session, maker and UTC day; wrapped in the registry before its first use.

`datakey/<id>` is `{wrapped, master, scope_key, maker, created_at}`; `{erased, scope_key}` once its session was erased, for
good. `retired/<fingerprint>` says that nothing may be sealed for a master key any more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from crewmem_producers.codec import format_time
from crewmem_producers.errors import MasterRetired
from crewmem_producers.events import utc_now
from crewmem_producers.master_key import PublicKey
from crewmem_producers.registry import Registry, Value, is_final
from crewmem_producers.sealed_body import SECRET_BYTES, cipher, new_key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "datakey/"
RETIRED = "retired/"


def of_scope(registry: Registry, scope_key: str) -> dict[str, Value]:
    """Every data key of a session (its record key), by id: those that were erased too."""
    found = registry.items(PREFIX).items()
    return {key.removeprefix(PREFIX): value for key, value in found if value.get("scope_key") == scope_key}


def is_erased(value: Value) -> bool:
    return is_final(value)


def is_damaged(value: Value) -> bool:
    """Whether the record is neither that of an erased key nor a whole one, which has `wrapped`, `master` and `scope_key`."""
    return not is_erased(value) and not all(isinstance(value.get(name), str) for name in ("wrapped", "master", "scope_key"))


def erased(scope_key: str, *, at: datetime) -> dict[str, str]:
    """The record that takes the place of a data key of that session, for good."""
    return {"erased": format_time(at), "scope_key": scope_key}


def wrapping_info(id: str, scope_key: str) -> bytes:
    """What a wrapped key is bound to: put under another id, or used for another session, it does not open."""
    return f"crewmem.datakey\n{id}\n{scope_key}".encode()


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key that this process made on `day` (UTC): `cipher` seals bodies under it, `master` is the fingerprint of the
    master key that it is wrapped with."""

    id: str
    day: date
    master: str
    cipher: AESGCM


class DataKeyMaker:
    """Makes the data keys of one process and keeps them while they hold. Used on the registry's event loop."""

    def __init__(
        self, *, registry: Registry, public: Callable[[], PublicKey], maker: str, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """`public()` gives the public key to seal for now; `maker` names this process to people who look at the registry."""
        self._registry = registry
        self._public = public
        self._maker = maker
        self._clock = clock
        self._keys: dict[str, DataKey] = {}
        self._turn = asyncio.Lock()
        self._asked = self._seen = 0

    @property
    def registry(self) -> Registry:
        """Where the keys are."""
        return self._registry

    async def of(self, scope_keys: Collection[str]) -> dict[str, DataKey]:
        """One usable data key per session, confirmed by a registry read that began after this call.

        Raises RegistryUnavailable; MasterRetired where the public half was given up by `crewmem keys rotate-master`.
        """
        self._asked += 1
        asked = self._asked
        async with self._turn:
            if self._seen < asked:
                upto = self._asked  # who asked meanwhile need not look again
                await self._registry.refresh()
                self._seen = upto
            return {scope_key: await self._key(scope_key) for scope_key in scope_keys}

    async def _key(self, scope_key: str) -> DataKey:
        public, today = self._public(), self._clock().date()
        self._check_in_use(public)
        known = self._keys.get(scope_key)
        if known is None or known.day != today or known.master != public.fingerprint or not self._holds(known.id):
            self._keys = {held: key for held, key in self._keys.items() if key.day == today}
            known = self._keys[scope_key] = await self._make(scope_key, public, today)
        return known

    async def _make(self, scope_key: str, public: PublicKey, today: date) -> DataKey:
        id, secret = new_key_id(scope_key), os.urandom(SECRET_BYTES)
        wrapped = public.wrap(secret, info=wrapping_info(id, scope_key))
        value = {
            "wrapped": wrapped, "master": public.fingerprint, "scope_key": scope_key, "maker": self._maker,
            "created_at": format_time(self._clock()),
        }  # fmt: skip
        await self._registry.put(PREFIX + id, value)
        # A put has read what was written before it: a master key that was retired first is seen here, one that is retired
        # later is followed by another look at every data key.
        self._check_in_use(public)
        return DataKey(id, today, public.fingerprint, cipher(secret))

    def _holds(self, id: str) -> bool:
        value = self._registry.get(PREFIX + id)
        return value is not None and not is_erased(value)

    def _check_in_use(self, public: PublicKey) -> None:
        if self._registry.get(RETIRED + public.fingerprint) is not None:
            raise MasterRetired(
                f"the master key {public.fingerprint} was retired by `crewmem keys rotate-master`: set "
                "CREWMEM_MASTER_PUBLIC_KEY (or CREWMEM_MASTER_KEY) to the new one; events wait until then"
            )
