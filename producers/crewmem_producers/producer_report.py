"""How the outbox of a host stands, as its relay reports it.

A relay that writes to Kafka puts its report into the registry itself, as `producer/<source>`. For one that posts to the
service the service does, as `producer/<tenant>/<start of the key's hash>/<source>`: a key cannot report for another.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from crewmem_producers.codec import format_time
from crewmem_producers.registry import Registry, Value

PREFIX = "producer/"

EVERY_SECONDS = 30.0
"""A host's report is written this often, at most."""

KEPT = timedelta(days=30)
"""A host that has not reported for so long is taken out of the registry."""


def key_of(source: str) -> str:
    """The registry's key of a host that writes to Kafka."""
    return PREFIX + source


def report(*, transport: str, tenant: str, depth: int, oldest_seconds: float, version: str, now: datetime) -> dict[str, object]:
    """The record. `transport` is `http` or `kafka`; `depth` events wait, the oldest of them since `oldest_seconds`."""
    return {
        "transport": transport, "tenant": tenant, "depth": depth, "oldest_seconds": oldest_seconds, "version": version,
        "seen_at": format_time(now),
    }  # fmt: skip


def reports(registry: Registry) -> dict[str, Value]:
    """The newest report of every host, by its name in the registry; `host_of` gives the host's own."""
    return {key.removeprefix(PREFIX): value for key, value in registry.items(PREFIX).items()}


def host_of(name: str, report: Value) -> str:
    """The host's name."""
    return str(report.get("source") or name)
