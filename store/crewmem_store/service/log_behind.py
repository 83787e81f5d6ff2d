"""Whether the log ends before what a view holds: then the view was made from another log than this one.

A topic that was deleted and made anew begins at offset 0 again, so its offsets say nothing about this view.
"""

from __future__ import annotations

from collections.abc import Collection

from crewmem_producers.errors import LogUnavailable
from starlette.concurrency import run_in_threadpool

from crewmem_store.service.freshness import LogEnds
from crewmem_store.store import StoreReader

REMEDY = (
    "the log ends before what the memory was made from: the topic was deleted and made anew, or cut. Restore it from a backup "
    "(`crewmem backup restore`), or run `crewmem replay` to build the memory from the log as it is"
)


async def partitions_behind(reader: StoreReader, ends: LogEnds, partitions: Collection[int]) -> list[int]:
    """The partitions of which the log ends before the last record that the view has decided, in order.

    The view is read before the log, so a record that arrives meanwhile makes no difference. Empty while the log is away, since
    that is not known then. Raises StoreUnavailable.
    """
    decided = await run_in_threadpool(lambda: {partition: reader.last_offset(partition) for partition in partitions})
    try:
        end = await ends.now()
    except LogUnavailable:
        return []
    return sorted(partition for partition, last in decided.items() if end.get(partition, 0) <= last)
