"""Three Apache Kafka brokers (KRaft), of which a test may end one at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from support.awaiting import until
from support.kafka import Broker, free_port, new_cluster_id

IN_SYNC_SECONDS = 180.0


class Cluster:
    """Replication 3, min.insync.replicas 2."""

    def __init__(self, folder: Path, *, count: int = 3) -> None:
        ports = [free_port() for _ in range(2 * count)]
        voters = ",".join(f"{n + 1}@127.0.0.1:{ports[count + n]}" for n in range(count))
        cluster = new_cluster_id()
        self.brokers = {
            f"broker-{n}": Broker(
                folder / f"broker-{n}", properties=_properties(n, voters, ports[n], ports[count + n]), cluster=cluster
            )
            for n in range(count)
        }
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports[:count])

    def start(self) -> None:
        """All at once: one alone waits for a quorum."""
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.start(), self.brokers.values()))

    def stop(self) -> None:
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.kill(), self.brokers.values()))

    async def in_sync(self) -> None:
        """Returns once every replica of every partition is in sync."""
        found = False

        async def look() -> None:
            nonlocal found
            while not found:
                found = await self._is_in_sync()
                await asyncio.sleep(0.5)

        task = asyncio.create_task(look())
        try:
            await until(lambda: found, what="every replica is in sync", seconds=IN_SYNC_SECONDS)
        finally:
            task.cancel()

    async def _is_in_sync(self) -> bool:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
        try:
            await admin.start()
            topics = await admin.describe_topics()
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await admin.close()
        partitions = [partition for topic in topics for partition in topic["partitions"]]
        whole = len(self.brokers)
        return all(len(one["isr"]) == min(whole, len(one["replicas"])) and one["leader"] >= 0 for one in partitions)


def _properties(n: int, voters: str, port: int, controller: int) -> dict[str, str]:
    return {
        "node.id": str(n + 1),
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.quorum.voters": voters,
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }
