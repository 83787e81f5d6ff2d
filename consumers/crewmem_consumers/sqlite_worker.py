"""A generation on the SQLite log: this process owns every partition and polls them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from crewmem_producers.errors import LogUnavailable

from crewmem_consumers.outage import Outage
from crewmem_consumers.owned import OwnedPartitions
from crewmem_consumers.partition_worker import PartitionWorker
from crewmem_consumers.patience import is_set_within

log = logging.getLogger("crewmem.consumer")

POLL_SECONDS = 0.05
"""How soon a new record is seen; a poll that finds nothing is one indexed look at a local file."""

UNAVAILABLE_SECONDS = 1.0
READ_RECORDS = 500


class SqliteWorker:
    """Reads the log for one generation and offers what it finds to the partitions' workers."""

    def __init__(self, owned: OwnedPartitions) -> None:
        self._owned = owned
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Adopts every partition; returns at once."""
        for partition in range(self._owned.generation.partitions):
            ready = asyncio.Event()
            worker = self._owned.adopt(partition, on_ready=partial(_set, ready))
            self._tasks.append(asyncio.create_task(self._poll(worker, ready)))

    async def stop(self) -> None:
        """Ends at the next border; returns when nothing runs any more."""
        self._stopping.set()
        await self._owned.release()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _poll(self, worker: PartitionWorker, ready: asyncio.Event) -> None:
        await ready.wait()
        outage = Outage(f"{worker.status.generation} partition {worker.partition}", logger=log)
        while not self._stopping.is_set():
            read = 0 if worker.full else await self._read(worker, outage)
            if read < READ_RECORDS:
                await is_set_within(self._stopping, POLL_SECONDS)

    async def _read(self, worker: PartitionWorker, outage: Outage) -> int:
        if worker.expected is None:
            return 0
        try:
            records = await self._owned.log.read(worker.partition, worker.expected, limit=READ_RECORDS)
        except LogUnavailable as error:
            worker.status.waits_for("log", error)
            outage.say(error)
            await is_set_within(self._stopping, UNAVAILABLE_SECONDS)
            return 0
        worker.status.waits_for("log", None)
        outage.say(None)
        if records:
            worker.offer(records)
        return len(records)


def _set(ready: asyncio.Event, position: int) -> None:
    """The worker itself knows its position."""
    del position
    ready.set()
