"""What is backed up, and what a backup is restored into."""

from __future__ import annotations

from dataclasses import dataclass

from crewmem_producers.log import EventLog
from crewmem_producers.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Log, dead letters and registry of one namespace, started."""

    log: EventLog
    letters: EventLog
    registry: Registry
    namespace: str
