"""A keyring for tests in which nothing is sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewmem_producers.keyring import Keyring


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
