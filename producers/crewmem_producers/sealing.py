"""Sealing: bodies of records on their way to the log, under data keys of their sessions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from crewmem_producers.data_keys import PREFIX, DataKey, DataKeyMaker
from crewmem_producers.erasing import erasure_of
from crewmem_producers.events import CONTROL_BODIES, SessionForgotten
from crewmem_producers.log import Record
from crewmem_producers.registry import Registry
from crewmem_producers.sealed_body import KEY_HEADER, SECRET_BYTES, cipher, header, key_id, seal

NEVER_SEALED = frozenset({*(body.type for body in CONTROL_BODIES), SessionForgotten.type})
"""What no session's erasure may take away."""


class Sealer:
    """Holds the public half of a master key: it can read nothing back. Used on the registry's event loop."""

    def __init__(self, *, keys: DataKeyMaker) -> None:
        self._keys = keys

    async def seal(self, records: Sequence[Record]) -> list[Record]:
        """The records in order, their bodies sealed; control events, and what is sealed already, as they are.

        Every data key is in the registry, and was read not to be erased, when this returns. Raises RegistryUnavailable,
        MasterRetired: nothing was sealed, and nothing is ever sent plain instead.
        """
        scope_keys = {_scope_key(record) for record in records if _is_to_seal(record)}
        keys = await self._keys.of(scope_keys) if scope_keys else {}
        return [self._sealed(record, keys[_scope_key(record)]) if _is_to_seal(record) else record for record in records]

    def _sealed(self, record: Record, key: DataKey) -> Record:
        buried = _buried(record, self._keys.registry)
        id, sealing = (key.id, key.cipher) if buried is None else (buried, cipher(os.urandom(SECRET_BYTES)))
        value = seal(record.value or b"", cipher=sealing, record=record)
        return replace(record, value=value, headers=(*record.headers, (KEY_HEADER, id.encode())))


def _is_to_seal(record: Record) -> bool:
    return (
        record.key is not None
        and record.value is not None
        and key_id(record) is None
        and header(record, "ce_type") not in NEVER_SEALED
    )


def _scope_key(record: Record) -> str:
    return (record.key or b"").decode()


def _buried(record: Record, registry: Registry) -> str | None:
    """The data key, born erased, of what happened before its session was erased and comes to the log only now: from a
    publisher that was offline. What is sealed under it can be read by nobody."""
    erasure = erasure_of(registry, _scope_key(record))
    if erasure is None or registry.get(PREFIX + erasure.grave) is None:
        return None
    try:
        return erasure.grave if datetime.fromisoformat(header(record, "ce_time") or "") <= erasure.time else None
    except (ValueError, TypeError):  # no time, or none that can be compared: decoding says what is wrong with it
        return None
