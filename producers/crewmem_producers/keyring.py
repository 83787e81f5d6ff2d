"""The keyring: opens the bodies of records that were sealed. Whoever reads the log opens before it decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from crewmem_producers.errors import KeyMissing
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.registry import Registry

R = TypeVar("R", LoggedRecord, Record)

KEY_HEADER = "crewmem-key"
"""The header that names the data key of a sealed body."""


class Keyring:
    """Thread-safe; `prepare` alone belongs to the registry's event loop."""

    def __init__(self, *, registry: Registry) -> None:
        """`registry` is started, and followed by whoever started it."""
        self._registry = registry

    def open(self, record: R) -> R:
        """The record with a plain body (and its headers as they were); one that is not sealed is returned as it is.

        Raises KeyMissing (wait: the surroundings lack a key), KeyErased (its session was erased), InvalidEvent (`bad_seal`).
        """
        id = key_id(record)
        if id is None:
            return record
        raise KeyMissing(f"the data key {id} is not in the registry")

    async def prepare(self, records: Sequence[LoggedRecord]) -> None:
        """Has the registry's view hold every data key of these that was put before them. Raises RegistryUnavailable."""
        if any(self._registry.get(f"datakey/{id}") is None for id in filter(None, map(key_id, records))):
            await self._registry.refresh()


def key_id(record: LoggedRecord | Record) -> str | None:
    """The id of the data key that sealed the record's body; None of a plain one."""
    for name, value in record.headers:
        if name == KEY_HEADER:
            return (value or b"").decode("utf-8", "replace")
    return None
