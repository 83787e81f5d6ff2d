"""The partitions of one generation that this process owns: a worker each, with what belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence

from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog
from crewmem_store.embedder import Embedder
from crewmem_store.errors import StoreDamaged
from crewmem_store.generations import Generation
from crewmem_store.rows import MemoryRow
from crewmem_store.store import Store

from crewmem_consumers.health import Health
from crewmem_consumers.ingestor import Ingestor
from crewmem_consumers.kept_sessions import SessionBudget
from crewmem_consumers.known import KnowingEmbedder, known_of
from crewmem_consumers.letters import DeadLetters
from crewmem_consumers.newer_schemas import NewerSchemas
from crewmem_consumers.partition_log import PartitionLog
from crewmem_consumers.partition_worker import Limits, Opened, PartitionWorker
from crewmem_consumers.prepare import Preparer
from crewmem_consumers.right_of_way import RightOfWay
from crewmem_consumers.steps import Checkpoint
from crewmem_consumers.summaries import Summaries, Summariser


class OwnedPartitions:
    """Starts a worker for each partition that is adopted, and ends it when it is given up."""

    def __init__(
        self,
        *,
        generation: Generation,
        log: EventLog,
        store: Store,
        embedder: Embedder,
        dead_letters: DeadLetters,
        keyring: Keyring,
        summariser: Summariser | None,
        health: Health,
        limits: Limits,
        checkpoint: Checkpoint,
        on_failure: Callable[[str, BaseException], None],
        siblings: Callable[[], Sequence[Generation]] = lambda: (),
        is_active: Callable[[], bool] = lambda: True,
        newer_schemas: Callable[[int], NewerSchemas] | None = None,
        sessions: SessionBudget | None = None,
        right_of_way: RightOfWay | None = None,
        low_rank: bool = False,
        preparer: Preparer | None = None,
    ) -> None:
        """`on_failure(generation, error)` is told once when a worker must not go on. `siblings` are the other live
        generations, whose vectors and LLM summaries of the same text are taken over; `is_active` says whether this is the one
        that answers. `newer_schemas` makes what redrives a partition's dead letters that can be read now;
        `sessions` is what the process keeps of sessions, `preparer` where the work on texts is done (here, by default); its
        `right_of_way` belongs to the generation that answers, and with `low_rank` threads that work for another one have a
        lower rank too."""
        self.generation = generation
        self.log = log
        self._store = store
        self._embedder = embedder
        self._dead_letters = dead_letters
        self._keyring = keyring
        self._summariser = summariser
        self._health = health
        self._limits = limits
        self._checkpoint = checkpoint
        self._on_failure = on_failure
        self._siblings = siblings
        self._is_active = is_active
        self._newer_schemas = newer_schemas
        self._sessions = sessions or SessionBudget()
        self._right_of_way = right_of_way or RightOfWay()
        self._low_rank = low_rank
        self._preparer = preparer
        self._workers: dict[int, PartitionWorker] = {}
        self._redriving: dict[int, NewerSchemas] = {}
        self._summaries: dict[int, Summaries] = {}

    def get(self, partition: int) -> PartitionWorker | None:
        """The worker of a partition that is owned now."""
        return self._workers.get(partition)

    def positions(self) -> dict[int, int]:
        """Partition -> the offset that is processed next, where that is known."""
        return {p: worker.status.position for p, worker in self._workers.items() if worker.status.position is not None}

    def adopt(
        self, partition: int, *, on_ready: Callable[[int], None], on_room: Callable[[], None] = lambda: None
    ) -> PartitionWorker:
        """Returns at once; `on_ready(position)` follows when the store has answered and the log is the right one."""
        worker = PartitionWorker(
            partition=partition,
            open_partition=lambda: self._open(partition),
            log=PartitionLog(self.log, partition),
            status=self._health.adopt(self.generation.name, partition),
            limits=self._limits,
            on_ready=on_ready,
            on_room=on_room,
            on_processed=lambda processed: self._health.metrics.processed(processed.outcomes),
            in_background=lambda: not self._is_active(),
            right_of_way=self._right_of_way,
            low_rank=self._low_rank,
            prepare=self._keyring.prepare,
        )
        self._workers[partition] = worker
        worker.start()
        worker.task.add_done_callback(self._ended)
        if self._summariser is not None:
            self._summaries[partition] = Summaries(worker=worker, summariser=self._summariser, elsewhere=self._elsewhere)
            self._summaries[partition].start()
        if self._newer_schemas is not None:
            self._redriving[partition] = self._newer_schemas(partition)
            self._redriving[partition].start()
        return worker

    async def release(self, partitions: Collection[int] | None = None) -> None:
        """Stops the workers of these partitions, of all by default, at their next border; returns when they have ended."""
        gone = [p for p in (self._workers if partitions is None else partitions) if p in self._workers]
        workers = [self._workers.pop(p) for p in gone]
        summaries = [self._summaries.pop(p) for p in gone if p in self._summaries]
        redriving = [self._redriving.pop(p) for p in gone if p in self._redriving]
        await asyncio.gather(*(task.stop() for task in summaries), *(task.stop() for task in redriving))
        await asyncio.gather(*(worker.stop() for worker in workers))
        for worker in workers:
            self._health.give_up(self.generation.name, worker.partition)

    def _open(self, partition: int) -> Opened:
        store = self._store.partition(self.generation.name, partition, dimensions=self.generation.dimensions)
        known = known_of(self.generation, partition, store=self._store, siblings=self._siblings(), metrics=self._health.metrics)
        pipeline = Ingestor(
            generation=self.generation,
            partition=partition,
            store=store,
            embedder=KnowingEmbedder(self._embedder, known=known, metrics=self._health.metrics),
            dead_letters=self._dead_letters,
            keyring=self._keyring,
            known=known,
            sessions=self._sessions,
            preparer=self._preparer,
            checkpoint=self._checkpoint,
        )
        return Opened(pipeline, store)

    def _elsewhere(self, id: str) -> Iterator[MemoryRow]:
        """The same memory in other generations, as far as it is there."""
        for sibling in self._siblings():
            with contextlib.suppress(StoreDamaged):  # then another one has it, or the LLM is asked
                row = self._store.reader(sibling.name).get(id)
                if row is not None:
                    yield row

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._on_failure(self.generation.name, error)
