"""Twins of what a worker works with: a pipeline that only notes what it was given, and a log in a list."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from crewmem_consumers.ingestor import Processed
from crewmem_consumers.partition_log import PartitionLog
from crewmem_producers.log import LoggedRecord
from crewmem_store.memory import MemoryStore
from crewmem_store.rows import Outcome
from crewmem_store.store import PartitionStore


def record(offset: int, *, partition: int = 0, value: bytes = b"{}") -> LoggedRecord:
    return LoggedRecord(partition, offset, b"default/key", value, (("ce_id", f"e{offset}".encode()),), 1_000_000 + offset)


def some_store() -> PartitionStore:
    store = MemoryStore()
    store.open(namespace="crewmem")
    return store.partition("g1", 0, dimensions=8)


class ListLog:
    """As much of a log as finding the place to read from needs; errors among the `answers` are raised, in turn."""

    def __init__(self, answers: Sequence[LoggedRecord | Exception] = (), *, first: int = 0) -> None:
        self.answers = list(answers)
        self.start = first

    async def first(self) -> dict[int, int]:
        return {0: self.start}

    async def read(self, partition: int, offset: int, *, limit: int = 500) -> list[LoggedRecord]:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return [] if answer is None else [answer]


def partition_log(*answers: LoggedRecord | Exception, first: int = 0) -> PartitionLog:
    return PartitionLog(ListLog(answers, first=first), 0, look_seconds=0.0)  # type: ignore[arg-type]


class FakePipeline:
    """Notes every batch; `errors` are raised first, one a call; `gate` holds a batch until the test opens it.

    While `away` is set every call raises it: a state that a test can wait to see in health, however busy the machine is.
    """

    def __init__(self, *, position: int = 0, errors: Sequence[BaseException] = ()) -> None:
        self.batches: list[list[int]] = []
        self.verified: list[LoggedRecord | None] = []
        self.errors = list(errors)
        self.verify_errors: list[BaseException] = []
        self.away: Exception | None = None
        self.idles = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.border: Callable[[], bool] | None = None
        self._position = position

    @property
    def seen(self) -> list[int]:
        return [offset for batch in self.batches for offset in batch]

    def position(self) -> int:
        return self._position

    def verify(self, record: LoggedRecord | None) -> None:
        if self.verify_errors:
            raise self.verify_errors.pop(0)
        self.verified.append(record)

    def process(
        self, records: Sequence[LoggedRecord], *, stopping: Callable[[], bool] = lambda: False
    ) -> Processed | None:  # fmt: skip
        self.entered.set()
        self.gate.wait(60)
        if self.away is not None:
            raise self.away
        if self.errors:
            raise self.errors.pop(0)
        if stopping():
            return None
        self.batches.append([one.offset for one in records])
        self._position = records[-1].offset + 1
        return Processed(Counter({Outcome.STORED: len(records)}), records[-1].offset)

    def idle(self) -> None:
        self.idles += 1
