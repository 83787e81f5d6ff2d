"""Sealing: bodies of records on their way to the log, under data keys of their sessions."""

from __future__ import annotations

import os
from collections.abc import Sequence

from crewmem_producers.codec import parse_time
from crewmem_producers.data_keys import PREFIX, DataKey, DataKeyMaker
from crewmem_producers.erasing import Erasure, erasure_of
from crewmem_producers.events import CONTROL_BODIES, SessionForgotten
from crewmem_producers.log import Record
from crewmem_producers.registry import Registry
from crewmem_producers.sealed_body import KEY_HEADER, SECRET_BYTES, cipher, key_id, seal

NEVER_SEALED = frozenset({*(body.type for body in CONTROL_BODIES), SessionForgotten.type})
"""What no session's erasure may take away."""


class Sealer:
    """Holds the public half of a master key: it can read nothing back. Used on the registry's event loop."""

    def __init__(self, *, keys: DataKeyMaker) -> None:
        self._keys = keys

    async def seal(self, records: Sequence[Record]) -> list[Record]:
        """The records in order, their bodies sealed. Control events, and what is sealed already, are given back as they are.

        When this returns, every data key that was used is in the registry, and the registry was read to see that none of them
        is erased. Raises RegistryUnavailable, MasterRetired; then nothing was sealed, and nothing may be sent plain instead.
        """
        scope_keys = [record.scope_key if _is_to_seal(record) else None for record in records]
        wanted = {scope_key for scope_key in scope_keys if scope_key is not None}
        if not wanted:
            return list(records)
        keys = await self._keys.of(wanted)
        graves = {scope_key: _grave(self._keys.registry, scope_key) for scope_key in wanted}
        return [
            record if scope_key is None else _sealed(record, keys[scope_key], graves[scope_key])
            for record, scope_key in zip(records, scope_keys, strict=True)
        ]


def _sealed(record: Record, key: DataKey, grave: Erasure | None) -> Record:
    id, sealing = key.id, key.cipher
    if grave is not None and _is_buried(record, grave):
        id, sealing = grave.grave, cipher(os.urandom(SECRET_BYTES))
    value = seal(record.value or b"", cipher=sealing, record=record)
    return Record(record.key, value, (*record.headers, (KEY_HEADER, id.encode())), record.partition)


def _is_to_seal(record: Record) -> bool:
    return (
        record.key is not None
        and record.value is not None
        and key_id(record) is None
        and record.header("ce_type") not in NEVER_SEALED
    )


def _grave(registry: Registry, scope_key: str) -> Erasure | None:
    """The session's erasure, once its grave key is registered. Events from before the erasure that arrive now are sealed under
    it."""
    erasure = erasure_of(registry, scope_key)
    return erasure if erasure is not None and registry.get(PREFIX + erasure.grave) is not None else None


def _is_buried(record: Record, erasure: Erasure) -> bool:
    """Whether the event happened before the erasure."""
    try:
        return parse_time(record.header("ce_time") or "") <= erasure.time
    except ValueError:  # decoding says what is wrong with it
        return False
