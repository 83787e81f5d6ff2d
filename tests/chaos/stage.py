"""What a run plays on: three brokers, an S3 server where the store is on one, and every process of the fleet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from chaos import abuse
from chaos.brokers import Cluster
from chaos.fleet import Fleet
from chaos.schedule import CONSUMERS, PUBLISHERS, SERVICES, Options
from chaos.workload import TENANTS, Workload
from crewmem_producers import master_key
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.log import EventLog
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.registry import Registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_producers.topics import ensure_topics
from crewmem_store import keys
from crewmem_store.connect import storage_options
from crewmem_store.lance import LanceStore
from support.kafka import free_port
from support.s3 import S3Server, s3_settings

NAMESPACE = "chaos"
KEYS = {tenant: f"am_live_{number:032x}" for number, tenant in enumerate(TENANTS, start=1)}
NARROW = f"am_live_{9:032x}"
"""A key that may only read, and only sessions `s0*` of the first tenant."""


class Stage:
    """All of it lies in one folder, in which every process leaves its log. What is published is sealed."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.fleet = Fleet(folder)
        self.cluster = Cluster(folder / "kafka")
        self.s3 = S3Server(folder / "s3") if options.store == "s3" else None
        self._master = master_key.generate()
        self._ports = [free_port() for _ in range(SERVICES)]
        self.workloads = [Workload(options.seed, number) for number in range(PUBLISHERS)]
        self.crews = [Workload(options.seed, PUBLISHERS + number) for number in range(2)]

    @property
    def urls(self) -> list[str]:
        """Of the recall services."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @property
    def files(self) -> list[Path]:
        """Folders in which no text of an erased session may be left."""
        store = self.folder / ("store" if self.s3 is None else "s3")
        return [store, self.folder / "kafka", self.folder / "outbox", self.folder / "home"]

    def store(self) -> LanceStore:
        settings = ConsumerSettings(**self.settings())
        return LanceStore(settings.store_uri, storage_options=storage_options(settings))

    async def stop(self) -> None:
        """Ends what is still running, whatever happened."""
        self.fleet.kill_all()
        await asyncio.to_thread(self.cluster.stop)
        if self.s3 is not None:
            self.s3.kill()

    def settings(self, **more: Any) -> dict[str, Any]:
        """Of every process with the master key: consumers, services, operators."""
        store = {"store": str(self.folder / "store")}
        if self.s3 is not None:
            store = s3_settings(self.s3.endpoint, "chaos")
        kafka = {"kafka_bootstrap": self.cluster.bootstrap, "kafka_partitions": self.options.partitions}
        own = {"namespace": NAMESPACE, "home": str(self.folder / "home"), "master_key": self._master}
        return {**own, **kafka, **store, **more}

    async def start(self) -> None:
        """Brokers, topics, API keys, then every process."""
        await asyncio.to_thread(self.cluster.start)
        if self.s3 is not None:
            await asyncio.to_thread(self.s3.start)
        settings = ConsumerSettings(**self.settings())
        await ensure_topics(settings)
        await self.cluster.in_sync()
        registry = open_registry(settings)
        await registry.start()
        try:
            for tenant, key in KEYS.items():
                await keys.create(registry, tenant=tenant, name=tenant, key=key, sessions=["*"], rights=keys.ALL_RIGHTS)
            for right, key in (("write", abuse.WRITER), ("read", abuse.READER)):
                await keys.create(registry, tenant=abuse.TENANT, name=right, key=key, sessions=["*"], rights=[right])
            await keys.create(registry, tenant=TENANTS[0], name="narrow", key=NARROW, sessions=["s0*"], rights=["read"])
        finally:
            await registry.close()
        self._add_processes()
        self.fleet.start()

    def _add_processes(self) -> None:
        options = self.options
        for number in range(CONSUMERS):
            # The others are dynamic members: killed, they leave their partitions to those that are left.
            static = {"group_instance_id": "static"} if number == 0 and not options.without else {}
            spec = {"settings": self.settings(**static), "without": options.without, "widen": options.widen}
            self.fleet.add(f"consumer-{number}", "consume.py", spec)
        for number, port in enumerate(self._ports):
            self.fleet.add(f"service-{number}", "serve.py", {"settings": self.settings(port=port)})
        for workload in self.workloads:
            spec = {
                "seed": options.seed, "publisher": workload.publisher, "rate": options.rate / PUBLISHERS,
                "settings": self.crew_settings(workload), "journal": str(self.folder / f"journal-{workload.publisher}"),
                "allowance": str(self.folder / f"allowance-{workload.publisher}"),
            }  # fmt: skip
            (self.folder / f"allowance-{workload.publisher}").write_text("0")
            self.fleet.add(f"publisher-{workload.publisher}", "publish.py", spec)

    def crew_settings(self, workload: Workload) -> dict[str, Any]:
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
            **own, "kafka_bootstrap": self.cluster.bootstrap, "kafka_partitions": self.options.partitions,
            "tenant": workload.tenant, "master_public_key": MasterKeys.parse(self._master).current.text,
        }  # fmt: skip

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[EventLog, Registry]]:
        """Log and registry, as an operator opens them."""
        settings = ConsumerSettings(**self.settings())
        log, registry = open_log(settings), open_registry(settings)
        try:
            await log.start()
            await registry.start()
            yield log, registry
        finally:
            await registry.close()
            await log.close()
