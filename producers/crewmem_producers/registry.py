"""The registry: the small mutable state that every service and consumer follows.

Values are JSON objects; a key is a kind and, but for `active`, a name behind a `/`:

    apikey/<sha256>                 who may call the service
    generation/<gen>, active        the computations of memory there are, and the one that answers
    generation-claim/<gen>/<id>     who is about to make a generation
    datakey/<id>                    what a session's events are sealed with (data_keys)
    erasure/<record key>            the last erasure of a session (erasing)
    retired/<fingerprint>           master keys for which nothing may be sealed any more (data_keys)
    opener/<source>/<process>       who opens sealed events, and with which master keys (openers)
    producer/<source>               how the outbox of a host that writes to Kafka stands (producer_report)
    producer/<tenant>/<key>/<source>    the same of a host that posts to the service

`registry_sqlite.SqliteRegistry` and `registry_kafka.KafkaRegistry` keep the contract;
`tests/producers/conformance_registry.py` of the source distribution is its suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from crewmem_producers.compat import iso_time

Value = Mapping[str, Any]

PASSING = ("opener/", "producer/")
"""Kinds of records that were true of a moment only: the age of each can be told from its `seen_at`, and an old one may be
removed."""


def is_final(value: Value) -> bool:
    """Whether it is an erasure, which no other value may replace."""
    return value.get("erased") is not None


def was_seen(value: Value, *, after: datetime) -> bool:
    """Whether a PASSING record was written later than that; one without a time that can be compared was not."""
    try:
        return iso_time(str(value.get("seen_at"))) > after
    except (ValueError, TypeError):
        return False


def check_passing(key: str) -> None:
    """Raises ValueError for a key whose record may not be removed: what was erased or revoked would come back."""
    if not key.startswith(PASSING):
        raise ValueError(f"the registry's record {key} is not to be removed: only {' and '.join(PASSING)} are")


class Registry(Protocol):
    """A replicated map. Reads come from a local view that follows the truth within a second; `refresh` waits for it."""

    async def start(self) -> None:
        """Reads the whole registry and starts following it. Raises RegistryUnavailable."""

    async def put(self, key: str, value: Value) -> None:
        """Writes durably; this process sees it at once, every other within a second. Raises RegistryUnavailable, and
        LogRefused where this process may not write to it.

        A value with `erased` is final: nothing but another erasure takes its place, in whatever order they were written.
        """

    async def remove(self, key: str) -> None:
        """Takes a record away, durably; nothing happens where there is none. Raises RegistryUnavailable, and ValueError for a
        key of a kind that is not PASSING.

        This process sees it at once. Another that cannot read just then may see the old record until it starts anew.
        """

    async def refresh(self) -> None:
        """Returns once the local view holds everything that was written before the call. Raises RegistryUnavailable."""

    def get(self, key: str) -> Value | None:
        """The value in the local view, or None."""

    def items(self, prefix: str) -> dict[str, Value]:
        """Every key of the local view that starts with `prefix`, with its value, as they are at the call; from any thread. A
        prefix that ends with a kind, such as `generation/`, costs what it gives.

        Keys of a kind that are written once stand in the order in which they were written, the same in every process.
        """

    async def close(self) -> None:
        """Stops following; safe to call twice."""
