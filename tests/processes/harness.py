"""Consumer processes over one log and one store, and the account of what they made of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.connect import storage_options
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.lance import LanceStore
from crewmem_store.lance_library import lancedb
from crewmem_store.memory import MemoryStore
from crewmem_store.store import StoreReader
from support.keyrings import plain_keyring
from support.logged import remembered_record

SCRIPT = Path(__file__).with_name("consume.py")
PATIENCE_SECONDS = 300.0
ROW_FIELDS = ("id", "outcome", "duplicate_of", "scope", "kind", "text", "key", "superseded_at", "expires_at", "offset")


class NoLetters:
    """Dead letters of a clean run are not looked at."""

    def send(self, letters: Sequence[Record]) -> None:
        del letters


@dataclass
class Account:
    """What the store holds: `ledger` is (partition, offset) -> outcome; the counters find what is there twice."""

    ledger: dict[tuple[int, int], str] = field(default_factory=dict)
    ledger_rows: Counter[tuple[int, int]] = field(default_factory=Counter)
    rows: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    row_ids: Counter[str] = field(default_factory=Counter)

    @property
    def doubled(self) -> list[Any]:
        counts = (*self.ledger_rows.items(), *self.row_ids.items())
        return [what for what, count in counts if count > 1]


@dataclass
class Stack:
    """A log (SQLite, or Kafka with `bootstrap`) and a store folder; consumers of it are real processes."""

    home: Path
    namespace: str
    bootstrap: str | None = None
    partitions: int = 1
    more: dict[str, Any] = field(default_factory=dict)
    """Further settings of every consumer."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def settings(self, **more: Any) -> dict[str, Any]:
        base: dict[str, Any] = {
            "home": str(self.home), "namespace": self.namespace, "batch_rows": 8, "batch_wait_ms": 50,
            "kafka_partitions": self.partitions,
        }  # fmt: skip
        return base | ({"kafka_bootstrap": self.bootstrap} if self.bootstrap else {}) | self.more | more

    def store(self) -> LanceStore:
        settings = ConsumerSettings(**self.settings())
        return LanceStore(settings.store_uri, storage_options=storage_options(settings))

    def reader(self, generation: str = "g1") -> StoreReader:
        return self.store().reader(generation)

    def start(self, *, name: str = "a", **spec: Any) -> subprocess.Popen[bytes]:
        """Starts a consumer; on Kafka `name` is its static membership."""
        static = {"group_instance_id": name} if self.bootstrap else {}
        spec["settings"] = self.settings(**static) | spec.get("settings", {})
        with self._said_in(len(self.processes)).open("wb") as out:
            process = subprocess.Popen([sys.executable, SCRIPT, json.dumps(spec)], stdout=out, stderr=out, env=environment())
        self.processes.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """All that this process has said."""
        return self._said_in(self.processes.index(process)).read_text()

    def _said_in(self, number: int) -> Path:
        return self.home / f"consumer-{number}.out"

    def output(self) -> str:
        """What the consumers said, for a failing test."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.home.glob("consumer-*.out")))

    async def publish(self, records: Sequence[Record]) -> None:
        log = open_log(ConsumerSettings(**self.settings()))
        await log.start()
        try:
            await log.append(records)
        finally:
            await log.close()

    async def publish_until_dead(self, process: subprocess.Popen[bytes]) -> None:
        """Publishes to every partition until the process has killed itself: one that owns any comes to its step so."""
        for number in range(1_000, 4_000, 10):
            if process.poll() is not None:
                break
            await self.publish([remembered_record(number + one, session=f"s{one}") for one in range(10)])
            await asyncio.sleep(1)
        assert process.poll() == -signal.SIGKILL, self.output()

    async def prepare(self) -> None:
        """Makes the topics, or the SQLite file."""
        settings = ConsumerSettings(**self.settings())
        if self.bootstrap:
            from crewmem_producers.topics import ensure_topics

            await ensure_topics(settings)
        registry = open_registry(settings)
        await registry.start()
        await registry.close()

    async def everything(self) -> dict[int, list[LoggedRecord]]:
        """The whole log, by partition."""
        log = open_log(ConsumerSettings(**self.settings()))
        await log.start()
        try:
            found: dict[int, list[LoggedRecord]] = {}
            for partition in range(log.partitions):
                found[partition] = records = []
                while more := await log.read(partition, records[-1].offset + 1 if records else 0):
                    records += more
            return found
        finally:
            await log.close()

    async def caught_up(self, generation: str = "g1") -> None:
        """Returns when the ledger has every position that the log has now; fails when that does not come about."""
        ends = {p: records[-1].offset for p, records in (await self.everything()).items() if records}
        reader = self.reader(generation)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(reader.last_offset(p) < end for p, end in ends.items()):
            assert time.monotonic() < deadline, f"the consumers do not catch up\n{self.output()}"
            assert any(process.poll() is None for process in self.processes), f"no consumer is left\n{self.output()}"
            await asyncio.sleep(0.2)

    def account(self, generation: str = "g1") -> Account:
        """Reads the raw tables, so that nothing can hide behind a reader."""
        settings = ConsumerSettings(**self.settings())
        database = lancedb.connect(settings.store_uri, storage_options=storage_options(settings) or None)
        account = Account()
        for name in database.list_tables(limit=10_000).tables:
            kind, _, rest = name.partition("_")
            if not rest.startswith(f"{generation}_") or kind not in ("mem", "led") or name.endswith("_closed"):
                continue
            partition = int(rest.split("_p")[1][:2])
            for row in database.open_table(name).to_arrow().to_pylist():
                if kind == "led":
                    account.ledger_rows[partition, row["offset"]] += 1
                    account.ledger[partition, row["offset"]] = row["outcome"]
                else:
                    account.row_ids[row["id"]] += 1
                    account.rows[row["id"]] = tuple(row[name] for name in ROW_FIELDS)
        return account

    async def clean(self) -> Account:
        """What one undisturbed pass over the same log makes of it."""
        records = await self.everything()
        embedder = HashingEmbedder()
        generation = Generation(
            name="g1", embedder=embedder.name, embedder_fingerprint=embedder.fingerprint,
            dimensions=embedder.dimensions, partitions=len(records),
        )  # fmt: skip
        store, account = MemoryStore(), Account()
        store.open(namespace=self.namespace)
        for partition, logged in records.items():
            opened = store.partition("g1", partition, dimensions=embedder.dimensions)
            ingestor = Ingestor(
                generation=generation,
                partition=partition,
                store=opened,
                embedder=embedder,
                dead_letters=NoLetters(),
                keyring=plain_keyring(),
            )
            ingestor.process(logged)
            for entry in store.reader("g1").ledger(partition, start=0, limit=1_000_000):
                account.ledger[partition, entry.offset] = entry.outcome.value
            for row in store._tables["g1", partition].memory.values():
                account.rows[row.id] = tuple(getattr(row, name) for name in ROW_FIELDS)
        return account


@contextmanager
def stack(
    home: Path, *, namespace: str, bootstrap: str | None = None, partitions: int = 1, more: dict[str, Any] | None = None
) -> Iterator[Stack]:
    """Ends every consumer that is left."""
    home.mkdir(parents=True, exist_ok=True)
    made = Stack(home, namespace, bootstrap, partitions, more or {})
    try:
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(30)


async def exit_code(process: subprocess.Popen[bytes], *, seconds: float = PATIENCE_SECONDS) -> int:
    """Waits for the process without holding up the loop."""
    return await asyncio.to_thread(process.wait, seconds)


def compare(found: Account, clean: Account) -> list[str]:
    """What was lost, doubled or decided otherwise; empty when the account closes."""
    faults = [f"doubled: {what}" for what in found.doubled]
    faults += [f"no ledger row for {place}" for place in sorted(clean.ledger.keys() - found.ledger.keys())]
    faults += [f"not on the log: {place}" for place in sorted(found.ledger.keys() - clean.ledger.keys())]
    faults += [f"lost: {row}" for row in sorted(clean.rows.keys() - found.rows.keys())]
    faults += [f"too much: {row}" for row in sorted(found.rows.keys() - clean.rows.keys())]
    for place in found.ledger.keys() & clean.ledger.keys():
        if found.ledger[place] != clean.ledger[place]:
            faults.append(f"{place} is {found.ledger[place]}, not {clean.ledger[place]}")
    for row in found.rows.keys() & clean.rows.keys():
        if found.rows[row] != clean.rows[row]:
            faults.append(f"{found.rows[row]} is not {clean.rows[row]}")
    return faults


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CREWMEM_", "OPENAI_"))}
    folders = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return inherited | {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "OMP_NUM_THREADS": "1"}
