"""Puts a rule file on the log: from its position on, each partition's records are decided by it."""

from __future__ import annotations

from crewmem_producers.codec import encode
from crewmem_producers.events import Event, RulesApplied
from crewmem_producers.log import EventLog, Position


async def apply_rules(log: EventLog, text: str, *, source: str) -> list[Position]:
    """Appends one `crewmem.rules.applied` record to every partition; the text has been checked. Raises LogUnavailable."""
    from crewmem_consumers.rules import fingerprint

    body = RulesApplied(rules=text, sha256=fingerprint(text))
    records = [encode(Event(body=body, scope=None, source=source), partition=number) for number in range(log.partitions)]
    return await log.append(records)


async def apply_default_rules(log: EventLog, *, source: str) -> list[Position]:
    """Applies the default rule file to each partition of a log that has no record yet; does nothing to any other."""
    if any((await log.end()).values()):
        return []
    from crewmem_consumers.rules import DEFAULT_RULES

    return await apply_rules(log, DEFAULT_RULES, source=source)
