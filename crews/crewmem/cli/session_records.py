"""What the log has of one session."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.log_reading import pages
from crewmem_producers.names import Scope
from crewmem_producers.sealing import NEVER_SEALED

from crewmem.cli.progress import progress_bar


async def of_session(log: EventLog, scope: Scope, partition: int, *, end: int) -> AsyncGenerator[LoggedRecord]:
    """The session's records below offset `end` of its partition, oldest first, without what only speaks of the session (that
    it is forgotten). Shows how far it is. Raises LogUnavailable."""
    key, first = scope.key.encode(), (await log.first())[partition]
    with progress_bar() as show:
        async for records in pages(log, partition, start=first, end=end):
            for record in records:
                if record.key == key and record.header("ce_type") not in NEVER_SEALED:
                    yield record
            show("looking for the session", records[-1].offset + 1, end)


async def knows(log: EventLog, scope: Scope, partition: int, *, end: int) -> bool:
    """Whether there is any; reads up to the first one."""
    async with aclosing(of_session(log, scope, partition, end=end)) as records:
        async for _ in records:
            return True
    return False
