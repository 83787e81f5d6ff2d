"""The registry: the small mutable state that every service and consumer follows.

Keys are `apikey/<sha256>`, `datakey/<id>`, `generation/<gen>`, `generation-claim/<gen>/<id>`, `active`,
`producer/<source>`; values are JSON objects.
`registry_sqlite.SqliteRegistry` and `registry_kafka.KafkaRegistry` keep the contract;
`tests/producers/conformance_registry.py` is its suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Value = Mapping[str, Any]


def is_final(value: Value) -> bool:
    """Whether nothing may take the value's place: what was erased stays erased."""
    return value.get("erased") is not None


class Registry(Protocol):
    """A replicated map. Reads come from a local view that follows the truth within a second; `refresh` waits for it."""

    async def start(self) -> None:
        """Reads the whole registry and starts following it. Raises RegistryUnavailable."""

    async def put(self, key: str, value: Value) -> None:
        """Writes durably; this process sees it at once, every other within a second. Raises RegistryUnavailable, and
        LogRefused where this process may not write to it.

        A value with `erased` is final: nothing but another erasure takes its place, in whatever order they were written.
        """

    async def refresh(self) -> None:
        """Returns once the local view holds everything that was written before the call. Raises RegistryUnavailable."""

    def get(self, key: str) -> Value | None:
        """The value in the local view, or None."""

    def items(self, prefix: str) -> dict[str, Value]:
        """Every key of the local view that starts with `prefix`, with its value. Keys that are written once stand in the order
        in which they were written, the same in every process."""

    async def close(self) -> None:
        """Stops following; safe to call twice."""
