"""Sealing: bodies of records on their way to the log, under data keys of their sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crewmem_producers.data_keys import DataKey, DataKeyMaker
from crewmem_producers.events import CONTROL_BODIES, SessionForgotten
from crewmem_producers.log import Record
from crewmem_producers.sealed_body import KEY_HEADER, header, key_id, seal

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
        return [_sealed(record, keys[_scope_key(record)]) if _is_to_seal(record) else record for record in records]


def _is_to_seal(record: Record) -> bool:
    return (
        record.key is not None
        and record.value is not None
        and key_id(record) is None
        and header(record, "ce_type") not in NEVER_SEALED
    )


def _scope_key(record: Record) -> str:
    return (record.key or b"").decode()


def _sealed(record: Record, key: DataKey) -> Record:
    value = seal(record.value or b"", cipher=key.cipher, record=record)
    return replace(record, value=value, headers=(*record.headers, (KEY_HEADER, key.id.encode())))
