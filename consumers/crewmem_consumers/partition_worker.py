"""One partition of one generation: a bounded queue of records, and a thread that takes them through the pipeline in order.

Everything here runs on the event loop but the pipeline itself, which has a thread of its own, so that a slow partition holds
up no other one and no heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from crewmem_producers.errors import KeyMissing, LogRefused, Unavailable
from crewmem_producers.log import LoggedRecord
from crewmem_store.errors import StoreRefused
from crewmem_store.store import PartitionStore

from crewmem_consumers.health import PartitionStatus
from crewmem_consumers.ingestor import MAX_BYTES, MAX_RECORDS, Processed
from crewmem_consumers.outage import Outage
from crewmem_consumers.pace import Pace
from crewmem_consumers.partition_log import PartitionLog
from crewmem_consumers.patience import Patience, Stopped
from crewmem_consumers.right_of_way import RightOfWay
from crewmem_consumers.work_thread import WorkThread

T = TypeVar("T")
logger = logging.getLogger("crewmem.consumer")

IDLE_SECONDS = 1.0
"""How often an idle partition looks after its store: makes durable what was written, optimises when that is due."""

QUEUE_BYTES = 32 * 1024 * 1024
BACKGROUND_QUEUE_BYTES = 4 * 1024 * 1024
"""Of a generation that is built: it may stand at its borders for long, and every partition of the process has such a queue."""
REFUSALS = (StoreRefused, LogRefused)


class Pipeline(Protocol):
    """What a worker needs of `ingestor.Ingestor`."""

    def position(self) -> int: ...
    def verify(self, record: LoggedRecord | None) -> None: ...
    def process(self, records: Sequence[LoggedRecord], *, stopping: Callable[[], bool] = ...) -> Processed | None: ...
    def idle(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition that was opened for writing, and the pipeline that writes it."""

    pipeline: Pipeline
    store: PartitionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """At most `batch_records` are handed over at once. A batch that is not full waits until `batch_wait_seconds` after the one
    before was done: a record alone is written at once, a trickle of them once an interval."""

    batch_records: int = 2_000
    batch_wait_seconds: float = 0.2

    @property
    def queue_records(self) -> int:
        """With so many waiting, the queue is full."""
        return 4 * self.batch_records


async def _as_it_is(records: Sequence[LoggedRecord]) -> None:
    """Nothing is sealed."""
    del records


class PartitionWorker:
    """Start it, `offer` records once it is ready, stop it. Its ledger is the only position: nothing is committed here."""

    def __init__(
        self,
        *,
        partition: int,
        open_partition: Callable[[], Opened],
        log: PartitionLog,
        status: PartitionStatus,
        limits: Limits,
        on_ready: Callable[[int], None],
        on_room: Callable[[], None] = lambda: None,
        on_processed: Callable[[Processed], None] = lambda processed: None,
        in_background: Callable[[], bool] = lambda: False,
        right_of_way: RightOfWay | None = None,
        low_rank: bool = False,
        prepare: Callable[[Sequence[LoggedRecord]], Awaitable[None]] = _as_it_is,
    ) -> None:
        """`open_partition` runs on the worker's thread. While its work is `in_background` it gives way to the generation that
        answers, as the process's `right_of_way` says, and with `low_rank` its thread to everything else on the machine.

        `prepare(records)` is awaited on the loop before they are processed: it has the keys at hand that open them.
        `on_ready(position)` says from where records are wanted; `on_room()` that a full queue has room again.
        """
        self.partition = partition
        self.status = status
        self._open_partition = open_partition
        self._log = log
        self._prepare = prepare
        self._limits = limits
        self._on_ready, self._on_room, self._on_processed = on_ready, on_room, on_processed
        self._in_background = in_background
        self._right_of_way = right_of_way or RightOfWay()
        self._gave_way_seconds = 0.0
        self._queue: deque[tuple[float, LoggedRecord]] = deque()
        self._queued_bytes = 0
        self._in_hand: Sequence[LoggedRecord] = ()
        self._done_at = float("-inf")
        self._arrived = asyncio.Event()
        self._stop_asked = threading.Event()
        self._stopping = asyncio.Event()
        # A fault of the surroundings, or of ours, is never a reason to skip a record: everything is tried again but what
        # says that this store must not be used at all.
        self._outage = Outage(f"{status.generation} partition {partition}", logger=logger)
        self._patience = Patience(stop=self._stopping, say=self._say, worth=lambda error: not isinstance(error, REFUSALS))
        name = f"{status.generation}-p{partition}"
        self._thread = WorkThread(name, in_background=lambda: low_rank and in_background())
        self._pace = Pace(most=min(limits.batch_records, MAX_RECORDS), in_background=in_background)
        self._task: asyncio.Task[None] | None = None
        self._opened: Opened | None = None
        self.expected: int | None = None
        """The offset that the next offered record should have; None until the worker is ready."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"{self.status.generation} partition {self.partition}")

    @property
    def task(self) -> asyncio.Task[None]:
        """Ends when the worker has stopped; raises StoreRefused when this partition must not go on."""
        assert self._task is not None, "start() first"
        return self._task

    @property
    def full(self) -> bool:
        most = BACKGROUND_QUEUE_BYTES if self._in_background() else QUEUE_BYTES
        return len(self._queue) >= self._limits.queue_records or self._queued_bytes >= most

    def offer(self, records: Sequence[LoggedRecord]) -> None:
        """Takes records, in order; those before `expected` were seen already. Look at `full` before reading more."""
        if self.expected is None or self._stop_asked.is_set():
            return  # not ours yet, or not any more: whoever owns the partition reads them from its position
        now = asyncio.get_running_loop().time()
        for record in records:
            if record.offset >= self.expected:
                self._queue.append((now, record))
                self._queued_bytes += record.size
                self.expected = record.offset + 1
        self._note_head()
        self._arrived.set()

    async def stop(self) -> None:
        """Ends at the next border of a stage; waits for a write in flight, drops what was only read."""
        self._stop_asked.set()
        self._stopping.set()
        self._arrived.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Runs `work` on the worker's thread, between batches: it never runs beside a write."""
        return await self._thread.run(work)

    async def _in_turn(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Run `work(stopping)` on the worker's thread, by the right of way: `stopping` waits where others go first."""
        stopping, building = self._stop_asked.is_set, self._in_background()

        def in_turn() -> T:
            if not building:
                with self._right_of_way.answering():
                    return work(stopping)
            with self._right_of_way.building(stopping) as border:

                def timed_border() -> bool:
                    began = time.monotonic()
                    stop = border()
                    self._gave_way_seconds += time.monotonic() - began
                    return stop

                timed_border()
                return work(timed_border)

        return await self.on_thread(in_turn)

    @property
    def store(self) -> PartitionStore | None:
        """The partition as it was opened, for `on_thread` only; None until then."""
        return self._opened.store if self._opened else None

    async def _run(self) -> None:
        try:
            pipeline = await self._patience.until_done(self._adopt)
            while not self._stop_asked.is_set():
                self._thread.look()
                if batch := await self._collect():
                    if self.status.in_doubt:
                        self.status.in_doubt = False  # a doubt that comes meanwhile is another one
                        await self._patience.until_done(self._verify, pipeline)
                    await self._patience.until_done(self._process, pipeline, batch)
                await self._patience.until_done(self._idle, pipeline)
        except Stopped:
            pass
        except REFUSALS as error:
            self.status.refused = str(error)
            raise
        finally:
            self._queue.clear()
            await self._close()

    async def _adopt(self) -> Pipeline:
        """Opens the partition and says where to read on."""
        if self._opened is None:
            self._opened = await self._in_turn(lambda stopping: self._open_partition())
        pipeline = self._opened.pipeline
        position = await self._verify(pipeline) or await self._log.first()
        self.status.position = self.expected = position
        self._on_ready(position)
        return pipeline

    async def _verify(self, pipeline: Pipeline) -> int:
        """Checks that the log is the one that the ledger was made from; gives the ledger's position. Raises LogMismatch."""
        position = await self.on_thread(pipeline.position)
        before = await self._log.record_at(position - 1) if position else None
        await self.on_thread(lambda: pipeline.verify(before))
        return position

    async def _close(self) -> None:
        try:
            if self._opened is not None:
                await self.on_thread(self._opened.store.close)
        except Unavailable as error:  # its rows are written: the next owner makes them durable, or computes them again
            logger.warning("%s partition %d was left without a last look: %s", self.status.generation, self.partition, error)
        finally:
            self._thread.close()

    async def _idle(self, pipeline: Pipeline) -> None:
        if self._in_background():
            await self._in_turn(lambda stopping: pipeline.idle())
        else:  # it hardly does anything: nobody gives way to it
            await self.on_thread(pipeline.idle)

    async def _process(self, pipeline: Pipeline, batch: Sequence[LoggedRecord]) -> None:
        loop = asyncio.get_running_loop()
        began, self._gave_way_seconds = loop.time(), 0.0
        await self._prepare(batch)
        try:
            processed = await self._in_turn(lambda stopping: pipeline.process(batch, stopping=stopping))
        except KeyMissing:  # for long, it may be: what was erased before it leaves the files meanwhile
            await self.on_thread(pipeline.idle)
            raise
        if processed is not None:
            self._on_processed(processed)
        self.status.position = await self.on_thread(pipeline.position)
        if self.status.position <= batch[-1].offset:
            raise Stopped
        self._done_at = loop.time()
        self._pace.took(len(batch), self._done_at - began - self._gave_way_seconds)
        self._in_hand = ()
        self._note_head()

    async def _collect(self) -> list[LoggedRecord]:
        """Waits for records, then until the batch is full, or it is long enough since its first record or the last batch."""
        loop = asyncio.get_running_loop()
        await self._wait(until=lambda: bool(self._queue), deadline=loop.time() + IDLE_SECONDS)
        if not self._queue:
            return []
        deadline = min(self._queue[0][0], self._done_at) + self._limits.batch_wait_seconds
        await self._wait(until=lambda: len(self._queue) >= self._pace.records, deadline=deadline)
        was_full = self.full
        self._in_hand = batch = self._take_batch()
        if was_full and not self.full:
            self._on_room()
        return batch

    def _take_batch(self) -> list[LoggedRecord]:
        """What one commit can hold: so a batch is written whole, or not at all."""
        batch: list[LoggedRecord] = []
        size, most = 0, self._pace.records
        while self._queue and len(batch) < most and (not batch or size + self._queue[0][1].size <= MAX_BYTES):
            _, record = self._queue.popleft()
            batch.append(record)
            size += record.size
        self._queued_bytes -= size
        return batch

    async def _wait(self, *, until: Callable[[], bool], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while not until() and not self._stop_asked.is_set():
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), max(0.0, deadline - loop.time()))
            except TimeoutError:
                return

    def _say(self, error: Exception | None) -> None:
        self.status.waits_for("work", error)
        self._outage.say(error)

    def _note_head(self) -> None:
        oldest = self._in_hand[0] if self._in_hand else self._queue[0][1] if self._queue else None
        self.status.head_timestamp_ms = oldest.timestamp_ms if oldest else None
