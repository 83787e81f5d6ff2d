"""One chaos run: everything started, the schedule played, everything quiet, everything checked. What is published is sealed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import check, journal, traffic
from chaos.brokers import Cluster
from chaos.check import Findings
from chaos.conductor import Conductor
from chaos.fleet import Fleet
from chaos.schedule import CONSUMERS, PUBLISHERS, SERVICES, Options, schedule
from chaos.traffic import Traffic
from chaos.workload import TENANTS, Workload
from crewmem_producers import master_key
from crewmem_producers.connect import open_keyring, open_log, open_registry
from crewmem_producers.log import EventLog
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.outbox import Outbox
from crewmem_producers.publisher import Publisher
from crewmem_producers.registry import Registry
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import ConsumerSettings, CrewSettings
from crewmem_producers.topics import ensure_topics
from crewmem_store import generations, keys
from crewmem_store.connect import storage_options
from crewmem_store.lance import LanceStore
from support.kafka import free_port
from support.s3 import S3Server, s3_settings

NAMESPACE = "chaos"
QUIET_SECONDS = 900.0
KEYS = {tenant: f"am_live_{number:032x}" for number, tenant in enumerate(TENANTS, start=1)}
NARROW = f"am_live_{9:032x}"


@dataclass
class Result:
    """What a run did and found."""

    options: Options
    findings: Findings = field(default_factory=Findings)
    counts: dict[str, object] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began


class Run:
    """One run in a folder of its own, in which every process leaves its log."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.result = Result(options)
        self._fleet = Fleet(folder)
        self._cluster = Cluster(folder / "kafka")
        self._s3 = S3Server(folder / "s3") if options.store == "s3" else None
        self._master = master_key.generate()
        self._ports = [free_port() for _ in range(SERVICES)]
        self._workloads = [Workload(options.seed, number) for number in range(PUBLISHERS)]
        self._crews = [Workload(options.seed, PUBLISHERS + number) for number in range(2)]
        self._acknowledged: dict[int, set[int]] = {crew.publisher: set() for crew in self._crews}

    async def run(self) -> Result:
        """Everything; what is still running at the end is ended, whatever happened."""
        steps = schedule(self.options)
        (self.folder / "schedule.txt").write_text("".join(f"{step}\n" for step in steps))
        try:
            with self.result.timed("start"):
                await self._start()
            async with self._open() as (log, registry):
                with self.result.timed("schedule"):
                    await self._play(steps, log)
                with self.result.timed("quiet"):
                    await self._become_quiet(log, registry)
                with self.result.timed("check"):
                    await self._check(log, registry)
        finally:
            self._fleet.kill_all()
            await asyncio.to_thread(self._cluster.stop)
            if self._s3 is not None:
                self._s3.kill()
        return self.result

    def _settings(self, **more: Any) -> dict[str, Any]:
        store = {"store": str(self.folder / "store")}
        if self._s3 is not None:
            store = s3_settings(self._s3.endpoint, "chaos")
        kafka = {"kafka_bootstrap": self._cluster.bootstrap, "kafka_partitions": self.options.partitions}
        own = {"namespace": NAMESPACE, "home": str(self.folder / "home"), "master_key": self._master}
        return {**own, **kafka, **store, **more}

    async def _start(self) -> None:
        await asyncio.to_thread(self._cluster.start)
        if self._s3 is not None:
            await asyncio.to_thread(self._s3.start)
        settings = ConsumerSettings(**self._settings())
        await ensure_topics(settings)
        await self._cluster.in_sync()
        registry = open_registry(settings)
        await registry.start()
        try:
            for tenant, key in KEYS.items():
                await keys.create(registry, tenant=tenant, name=tenant, key=key)
            await keys.create(registry, tenant=TENANTS[0], name="narrow", key=NARROW, sessions=["s0*"], rights=["read"])
        finally:
            await registry.close()
        self._add_processes()
        self._fleet.start()

    def _add_processes(self) -> None:
        options = self.options
        for number in range(CONSUMERS):
            # The others are dynamic members: killed, they leave their partitions to those that are left.
            static = {"group_instance_id": "static"} if number == 0 and not options.without else {}
            spec = {"settings": self._settings(**static), "without": options.without, "widen": options.widen}
            self._fleet.add(f"consumer-{number}", "consume.py", spec)
        for number, port in enumerate(self._ports):
            self._fleet.add(f"service-{number}", "serve.py", {"settings": self._settings(port=port)})
        for workload in self._workloads:
            spec = {
                "seed": options.seed, "publisher": workload.publisher, "rate": options.rate / PUBLISHERS,
                "settings": self._crew_settings(workload), "journal": str(self.folder / f"journal-{workload.publisher}"),
                "allowance": str(self.folder / f"allowance-{workload.publisher}"),
            }  # fmt: skip
            (self.folder / f"allowance-{workload.publisher}").write_text("0")
            self._fleet.add(f"publisher-{workload.publisher}", "publish.py", spec)

    def _crew_settings(self, workload: Workload) -> dict[str, Any]:
        """Publishers 0 to 3 use HTTP, 4 to 7 Kafka; two of a kind and tenant share an outbox, and so a relay. The crews are
        one of each, with an outbox of their own."""
        number = workload.publisher
        own = {
            "namespace": NAMESPACE, "home": str(self.folder / "home"), "source": f"host-{number}", "flush_seconds": 0.0,
            "outbox_dir": str(self.folder / ("outbox" if number < PUBLISHERS else f"outbox-{number}")),
        }  # fmt: skip
        if number < PUBLISHERS // 2 or number == PUBLISHERS:
            url = f"http://127.0.0.1:{self._ports[number % SERVICES]}"
            return {**own, "base_url": url, "api_key": KEYS[workload.tenant], "tenant": workload.tenant}
        return {
            **own, "kafka_bootstrap": self._cluster.bootstrap, "kafka_partitions": self.options.partitions,
            "tenant": workload.tenant, "master_public_key": MasterKeys.parse(self._master).current.text,
        }  # fmt: skip

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[EventLog, Registry]]:
        settings = ConsumerSettings(**self._settings())
        log, registry = open_log(settings), open_registry(settings)
        try:
            await log.start()
            await registry.start()
            yield log, registry
        finally:
            await registry.close()
            await log.close()

    async def _play(self, steps: list[Any], log: EventLog) -> None:
        urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        asked = Traffic(urls, traffic.callers(KEYS, NARROW))
        conductor = Conductor(
            self.options, folder=self.folder, fleet=self._fleet, cluster=self._cluster, s3=self._s3, traffic=asked,
            workloads=self._workloads, log=log, settings=ConsumerSettings(**self._settings()),
        )  # fmt: skip
        publishers = [Publisher(CrewSettings(**self._crew_settings(crew))) for crew in self._crews]
        dice = random.Random(f"traffic/{self.options.seed}")
        tasks = [asyncio.create_task(self._fleet.supervise())]
        tasks += [asyncio.create_task(asked.recalls(dice, self._workloads, conductor.reached)) for _ in range(2)]
        tasks += [
            asyncio.create_task(asked.crews(dice, crew, publisher, self._acknowledged[crew.publisher]))
            for crew, publisher in zip(self._crews, publishers, strict=True)
        ]
        playing = asyncio.create_task(conductor.play(steps))
        try:
            await asyncio.wait([playing, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # none of them ends but by an error
            await playing
        finally:
            for task in (playing, *tasks):
                task.cancel()
            await asyncio.wait([playing, *tasks])
        for publisher in publishers:
            assert await publisher.aflush(120), "a crew's events were not delivered"
            publisher.close()
        self._take(conductor, asked)

    def _take(self, conductor: Conductor, asked: Traffic) -> None:
        counts = self.result.counts
        counts["kills"] = f"{conductor.kills.total()} ({', '.join(f'{n} {kind}s' for kind, n in conductor.kills.items())})"
        counts["other steps"] = ", ".join(f"{n} {name}" for name, n in conductor.done.items() if name != "kill")
        counts["replay"] = conductor.replayed
        counts |= dict(asked.counts)
        for fault in asked.faults:
            kind, _, says = fault.partition(": ")
            self.result.findings.add(kind, says)

    async def _become_quiet(self, log: EventLog, registry: Registry) -> None:
        """Publishers end with their outboxes empty; every generation has every position; consumers and services end."""
        looking = asyncio.create_task(self._fleet.supervise())
        await self._end("publisher")
        await registry.refresh()
        store = self._store()
        ends = await log.end()

        def behind() -> list[str]:
            return [
                f"{generation.name}/{partition}"
                for generation in generations.live(registry)
                for partition, end in ends.items()
                if store.reader(generation.name).last_offset(partition) < end - 1
            ]

        deadline = time.monotonic() + QUIET_SECONDS
        while (waited := await asyncio.to_thread(behind)) and time.monotonic() < deadline:
            await asyncio.sleep(1)
        if waited:
            self.result.findings.add(check.LOST, f"after {QUIET_SECONDS:.0f} s these are not at the log's end: {waited}")
        looking.cancel()
        await self._end("consumer")
        await self._end("service")
        for path in (self.folder / "outbox").glob("*.sqlite3"):
            status = Outbox(path, max_bytes=1 << 30).status()
            if status.depth or status.dead_letters:
                self.result.findings.add(check.LOST, f"{path}: {status}")

    async def _end(self, kind: str) -> None:
        processes = self._fleet.of(kind)
        for process in processes:
            process.busy = True
        for process, status in zip(processes, await asyncio.gather(*(one.end() for one in processes)), strict=True):
            if status != 0:
                self._fleet.died.append(f"{process.name} ended with {status} when it was told to stop, see {process.logs[-1]}")

    async def _check(self, log: EventLog, registry: Registry) -> None:
        findings, store = self.result.findings, self._store()
        keyring = open_keyring(ConsumerSettings(**self._settings()), registry)
        records = await check.whole_log(log)
        for logged in records.values():
            await keyring.prepare(logged)
        counts = self.result.counts
        counts["records on the log"] = sum(map(len, records.values()))
        counts["of them sealed"] = sum(key_id(record) is not None for logged in records.values() for record in logged)
        for generation in generations.live(registry):
            reader = store.reader(generation.name)
            wanted = await asyncio.to_thread(check.expected, records, generation, keyring)
            check.check_arrival(self._all_acknowledged(), wanted, findings)
            await asyncio.to_thread(
                check.check_generation, generation.name, reader, wanted, partitions=generation.partitions, findings=findings
            )
            await check.check_account(log, reader, generation, keyring, findings)
            clean = self.folder / f"clean-{generation.name}"
            counts[f"digest of {generation.name}"] = await check.check_digest(
                clean, records, reader, generation, keyring, findings
            )  # fmt: skip
            counts[f"forgotten memories in {generation.name}"] = len(wanted.forgotten)
        counts["events acknowledged"] = f"{len(self._all_acknowledged())} (repeats count once)"
        counts["started again, surroundings away"] = self._fleet.waited
        for died in self._fleet.died:
            findings.add(check.DIED, died)

    def _all_acknowledged(self) -> set[str]:
        found: set[str] = set()
        for workload in self._workloads:
            numbers = journal.read(self.folder / f"journal-{workload.publisher}").acknowledged
            found |= {workload.event(number).id for number in numbers}
        for crew in self._crews:
            found |= {crew.event(number).id for number in self._acknowledged[crew.publisher]}
        return found

    def _store(self) -> LanceStore:
        settings = ConsumerSettings(**self._settings())
        return LanceStore(settings.store_uri, storage_options=storage_options(settings))
