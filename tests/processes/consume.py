"""A consumer process for crash tests: `consume.py SPEC`, with SPEC in JSON.

`settings` are the consumer's; at the step `die_at` the process kills itself with SIGKILL, at `pause_at` it stops itself with
SIGSTOP, the `times`-th time that the step is reached; `without` names the guard that is taken out (the controls, which must
lose or double something). With `replay` it is `crewmem replay` instead of a consumer. With `serve` its health is served on
the settings' port; `knows` is the newest body version that this program reads; while the file `away_while` is there, the store
does not answer; `max_poll_ms` is the group's longest time between two polls.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.replay import replay
from crewmem_producers import codec
from crewmem_producers.errors import StoreUnavailable
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.connect import storage_options
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.lance import LanceStore
from crewmem_store.rows import LedgerRow, MemoryRow
from crewmem_store.updates import Update


class SignalAt:
    """A checkpoint that sends its own process a signal which nobody can catch."""

    def __init__(self, number: signal.Signals, *, step: str | None, times: int) -> None:
        self._number = number
        self._step = step
        self._left = times
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        if name != self._step:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._number)


class LedgerFirst:
    """Control: the position is stored before what it stands for."""

    def __init__(self, store: LanceStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def partition(self, generation: str, partition: int, *, dimensions: int) -> Any:
        opened = self._store.partition(generation, partition, dimensions=dimensions)
        commit = opened.commit

        def ledger_first(*, rows: Sequence[MemoryRow], updates: Sequence[Update], ledger: Sequence[LedgerRow]) -> None:
            commit(rows=[], updates=[], ledger=ledger)
            commit(rows=rows, updates=updates, ledger=[])

        opened.commit = ledger_first  # type: ignore[method-assign]
        return opened


class AwayWhile:
    """A store that does not answer while a file is there."""

    def __init__(self, store: LanceStore, path: Path) -> None:
        self._store = store
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def partition(self, generation: str, partition: int, *, dimensions: int) -> Any:
        opened = self._store.partition(generation, partition, dimensions=dimensions)
        commit = opened.commit

        def unless_away(**what: Any) -> None:
            if self._path.exists():
                raise StoreUnavailable("the store is away")
            commit(**what)

        opened.commit = unless_away  # type: ignore[method-assign]
        return opened


def poll_within(milliseconds: int) -> None:
    """Sets the group's longest time between two polls; a busy machine's missing heartbeats are not what is tested."""
    from crewmem_consumers.kafka_app import KafkaApp

    made = KafkaApp.__init__

    def init(self: KafkaApp, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self._subscriber._connection_args |= {"max_poll_interval_ms": milliseconds, "session_timeout_ms": 120_000}

    KafkaApp.__init__ = init  # type: ignore[method-assign]


def patient_handler() -> None:
    """Control: the handler waits for its partitions' queues instead of pausing those that are full."""
    from crewmem_consumers.kafka_app import KafkaApp

    handle = KafkaApp._handle

    async def waiting(self: KafkaApp, records: Any) -> None:
        await handle(self, records)
        while any((worker := self._owned.get(partition)) and worker.full for partition in self._owned.positions()):
            await asyncio.sleep(0.1)

    KafkaApp._handle = waiting  # type: ignore[method-assign]


def plain_add() -> None:
    """Control: rows are added, not merged by their id, and no owner looks for ids that are there twice."""
    from crewmem_store.lance_table import OwnedTable

    OwnedTable._merge = lambda self, rows: self._handle.add(rows, on_bad_vectors="null")  # type: ignore[method-assign]
    OwnedTable.keep_one = lambda self, choose: 0  # type: ignore[method-assign]


def no_seek() -> None:
    """Control: reading begins at the group's commit, which is written as soon as records are read."""
    from aiokafka import TopicPartition
    from crewmem_consumers.kafka_app import KafkaApp, _runs

    made = KafkaApp.__init__

    def init(self: KafkaApp, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self._subscriber._connection_args["auto_offset_reset"] = "earliest"

    async def assigned(self: KafkaApp, partitions: set[TopicPartition]) -> None:
        consumer = self._subscriber.consumer
        consumer.pause(*partitions)
        for place in partitions:
            self._owned.adopt(place.partition, on_ready=lambda position, place=place: consumer.resume(place))

    async def handle(self: KafkaApp, records: Any) -> None:
        for partition, found in _runs(records):
            if (worker := self._owned.get(partition)) is not None and worker.expected is not None:
                worker.offer(found)
        await self._subscriber.consumer.commit()

    async def commit_nothing(self: KafkaApp) -> None:
        await asyncio.Event().wait()

    KafkaApp.__init__ = init  # type: ignore[method-assign]
    KafkaApp.assigned = assigned  # type: ignore[method-assign]
    KafkaApp._handle = handle  # type: ignore[method-assign]
    KafkaApp._look_now_and_then = commit_nothing  # type: ignore[method-assign]


def no_look() -> None:
    """Control: a redrive does not look for the copies that are on the log already."""
    from crewmem_consumers import redrive
    from crewmem_consumers.later_facts import LaterFacts

    async def blind(*arguments: Any, **more: Any) -> LaterFacts:
        return LaterFacts()

    redrive.read_later_facts = blind  # type: ignore[assignment]


CONTROLS: dict[str, Callable[[], None]] = {
    "merge": plain_add, "seek": no_seek, "look": no_look, "pause": patient_handler,
}  # fmt: skip


async def main(spec: dict[str, Any]) -> None:
    settings = ConsumerSettings(**spec["settings"])
    codec.SCHEMA_VERSION = spec.get("knows", codec.SCHEMA_VERSION)
    number = signal.SIGSTOP if "pause_at" in spec else signal.SIGKILL
    checkpoint = SignalAt(number, step=spec.get("pause_at", spec.get("die_at")), times=spec.get("times", 1))
    store: Any = LanceStore(settings.store_uri, storage_options=storage_options(settings), checkpoint=checkpoint)
    store.open(namespace=settings.namespace)
    if "away_while" in spec:
        store = AwayWhile(store, Path(spec["away_while"]))
    if "max_poll_ms" in spec:
        poll_within(spec["max_poll_ms"])
    if spec.get("without") == "order":
        store = LedgerFirst(store)
    elif spec.get("without"):
        CONTROLS[spec["without"]]()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        health = None if spec.get("serve") else Health()
        if spec.get("replay"):
            await replay(
                settings, accept_loss=bool(spec.get("accept_loss")), checkpoint=checkpoint, store=store,
                embedder=HashingEmbedder(),
            )  # fmt: skip
            return
        await run(settings, stop=stop, checkpoint=checkpoint, store=store, embedder=HashingEmbedder(), health=health)
    finally:
        store.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
