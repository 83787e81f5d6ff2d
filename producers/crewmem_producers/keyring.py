"""The keyring: opens the bodies of records that were sealed. Whoever reads the log opens a record before decoding it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from crewmem_producers.data_keys import PREFIX, is_damaged, is_erased, wrapping_info
from crewmem_producers.erasing import has_erased
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing
from crewmem_producers.events import SessionForgotten
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.master_key import MasterSource
from crewmem_producers.registry import Registry, Value
from crewmem_producers.sealed_body import check_key_id, cipher, key_id, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

R = TypeVar("R", LoggedRecord, Record)

MOST_KEYS = 10_000
"""Data keys that are kept unwrapped; others are unwrapped again (about 0.1 ms each)."""


class Keyring:
    """Thread-safe; `prepare` alone belongs to the registry's event loop."""

    def __init__(self, *, registry: Registry, master: MasterSource = lambda: None) -> None:
        """`registry` is started, and followed by whoever started it; `master()` gives the private keys as they are now."""
        self._registry = registry
        self._master = master
        self._lock = Lock()
        self._ciphers: OrderedDict[str, AESGCM] = OrderedDict()

    def open(self, record: R) -> R:
        """The record with a plain body (and its headers as they were); one that is not sealed is returned as it is.

        Raises KeyMissing (wait: the surroundings lack a key), KeyErased (its session was erased), InvalidEvent (`bad_seal`).
        """
        id = key_id(record)
        if id is None or record.value is None:
            return record
        return replace(record, value=unseal(record.value, cipher=self._cipher(id, record.scope_key), record=record))

    def masters(self) -> tuple[str, ...]:
        """Fingerprints of the master keys that are held now."""
        held = self._master()
        return () if held is None else held.fingerprints

    async def prepare(self, records: Sequence[LoggedRecord]) -> None:
        """Refreshes the registry's view if a data key named here is unknown, or if a record forgets a session: its erased keys
        must be known before later records are opened. Raises RegistryUnavailable."""
        ids = {id for record in records if (id := key_id(record)) is not None}
        if any(self._registry.get(PREFIX + id) is None for id in ids) or any(_forgets_a_session(record) for record in records):
            await self._registry.refresh()

    def _cipher(self, id: str, scope_key: str) -> AESGCM:
        check_key_id(id, scope_key)
        value = self._registry.get(PREFIX + id)
        if value is None:
            raise KeyMissing(
                f"the data key {id} is not in the registry (yet): an event that it seals is waited for. If this lasts, the "
                "registry has lost records: restore them with `crewmem backup restore`, or, where there is no backup, give up "
                f"what the key sealed with `crewmem keys lost {id}`"
            )
        if is_erased(value) or has_erased(self._registry, scope_key, id):
            with self._lock:
                self._ciphers.pop(id, None)
            raise KeyErased("the event's session was erased, and with it the key that opens the event")
        with self._lock:
            if (known := self._ciphers.get(id)) is not None:
                self._ciphers.move_to_end(id)
                return known
        return self._unwrapped(id, scope_key, value)

    def _unwrapped(self, id: str, scope_key: str, value: Value) -> AESGCM:
        masters, master = self._master(), value.get("master")
        if masters is None:
            raise KeyMissing(
                f"an event is sealed, and no master key is held here: set CREWMEM_MASTER_KEY to the key of fingerprint {master}"
            )
        if is_damaged(value):
            raise KeyMissing(
                f"the registry's record of the data key {id} is damaged: give up what it sealed with `crewmem keys lost {id}`"
            )
        if value["scope_key"] != scope_key:
            raise InvalidEvent("the body is sealed with a data key of another session", reason="bad_seal")
        found = cipher(masters.unwrap(value["wrapped"], fingerprint=value["master"], info=wrapping_info(id, scope_key)))
        with self._lock:
            self._ciphers[id] = found
            while len(self._ciphers) > MOST_KEYS:
                self._ciphers.popitem(last=False)
        return found


def _forgets_a_session(record: LoggedRecord) -> bool:
    return record.header("ce_type") == SessionForgotten.type
