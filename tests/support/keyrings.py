"""A keyring for tests in which nothing is sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewmem_producers.errors import KeyErased
from crewmem_producers.keyring import Keyring, R
from crewmem_producers.log import LoggedRecord


class NoKeys:
    """As much of a registry as a keyring asks: one without any data key."""

    def get(self, key: str) -> Mapping[str, Any] | None:
        del key
        return None

    async def refresh(self) -> None:
        pass


def plain_keyring() -> Keyring:
    """Opens what is not sealed; anything else is KeyMissing."""
    return Keyring(registry=NoKeys())  # type: ignore[arg-type]


class OpensAllBut(Keyring):
    """As after an erasure: nobody can open what lies at these offsets."""

    def __init__(self, *offsets: int) -> None:
        super().__init__(registry=NoKeys())  # type: ignore[arg-type]
        self._offsets = offsets

    def open(self, record: R) -> R:
        if isinstance(record, LoggedRecord) and record.offset in self._offsets:
            raise KeyErased("the session was erased")
        return record
