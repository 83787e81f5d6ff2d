"""Apache Kafka for tests: a broker that is there already, a local process, or a container.

    python tests/support/kafka.py FILE

starts one broker of the release that KAFKA_HOME names, writes its bootstrap address to FILE and runs until SIGTERM.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

IMAGE = "apache/kafka:4.3.1"
START_SECONDS = 120
BROKER_SETTINGS = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "6",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def docker_missing() -> str | None:
    """Why there is no Docker engine, or None."""
    if shutil.which("docker") is None:
        return "no docker command is installed"
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return None if done.returncode == 0 else "no Docker engine is running"


def kafka_home() -> Path | None:
    """The unpacked Apache Kafka release that KAFKA_HOME names."""
    home = os.environ.get("KAFKA_HOME")
    return Path(home).resolve() if home else None


def process_missing() -> str | None:
    """Why no broker of its own can be started as a process, or None."""
    home = kafka_home()
    if home is None:
        return "KAFKA_HOME names no unpacked Apache Kafka release"
    if not (home / "bin" / "kafka-server-start.sh").is_file():
        return f"KAFKA_HOME={home} holds no bin/kafka-server-start.sh"
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "Apache Kafka needs Java 17 and there is no java"
    return None


def kafka_missing() -> str | None:
    """Why there is no Apache Kafka for tests, or None."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return None
    if kafka_home() is not None:
        return process_missing()
    docker = docker_missing()
    return f"no Kafka: KAFKA_BOOTSTRAP and KAFKA_HOME are not set, and {docker}" if docker else None


def new_cluster_id() -> str:
    """What brokers of one cluster are formatted with."""
    home = kafka_home()
    assert home is not None, process_missing()
    done = subprocess.run([home / "bin" / "kafka-storage.sh", "random-uuid"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass
class Broker:
    """One node (KRaft, broker and controller in one process) that a test may kill and start again on the same data.

    `listeners` names further listeners: name -> security protocol; `port_of` tells where each one listens. `properties`
    are added to server.properties, `format_options` to `kafka-storage.sh format` (SCRAM users). Brokers of one `cluster`
    (its id) are one cluster; without it the broker is one of its own.
    """

    folder: Path
    listeners: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    format_options: tuple[str, ...] = ()
    cluster: str | None = None

    def __post_init__(self) -> None:
        home = kafka_home()
        assert home is not None, process_missing()
        self._bin = home / "bin"
        self._ports = {name: free_port() for name in ("PLAINTEXT", "CONTROLLER", *self.listeners)}
        self._process: subprocess.Popen[bytes] | None = None
        self._config = self.folder / "server.properties"
        self._log = self.folder / "broker.out"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port_of('PLAINTEXT')}"

    @property
    def running(self) -> bool:
        return self._process is not None

    def port_of(self, listener: str) -> int:
        return self._ports[listener]

    def start(self) -> None:
        """Formats the folder the first time, starts the process and returns once it serves."""
        if not self._config.exists():
            self._format()
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [self._bin / "kafka-server-start.sh", self._config], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while b"Kafka Server started" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Apache Kafka did not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and -9 if that takes too long."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, from when this returns."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # all its threads stand still; until then it may answer

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self.listeners}
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.listener.names": "CONTROLLER",
            "listeners": addresses,
            "advertised.listeners": ",".join(one for one in addresses.split(",") if not one.startswith("CONTROLLER:")),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
            "log.dirs": str(self.folder / "data"),
            **BROKER_SETTINGS,
            **self.properties,
        }
        self._config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        cluster = self.cluster or new_cluster_id()
        done = subprocess.run(
            [self._bin / "kafka-storage.sh", "format", "-t", cluster, "-c", self._config, *self.format_options],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"kafka-storage.sh format failed:\n{done.stdout}{done.stderr}")


@contextmanager
def any_kafka(folder: Path) -> Iterator[str]:
    """The bootstrap address of Apache Kafka: KAFKA_BOOTSTRAP, else a process, else a container; ends what it started."""
    if address := os.environ.get("KAFKA_BOOTSTRAP"):
        yield address
    elif kafka_home() is not None:
        broker = Broker(folder)
        try:
            broker.start()
            yield broker.bootstrap
        finally:
            broker.stop()
    else:
        with _container() as address:
            yield address


@contextmanager
def _container() -> Iterator[str]:
    # testcontainers' own KafkaContainer cannot start apache/kafka images.
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = free_port()
    container = DockerContainer(IMAGE).with_bind_ports(9092, port)
    host = container.get_docker_client().host()
    container.with_envs(
        KAFKA_NODE_ID="1",
        KAFKA_PROCESS_ROLES="broker,controller",
        KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
        KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
        # In a transaction the broker talks to itself, and from inside it does not reach the port that the host shows.
        KAFKA_LISTENERS="PLAINTEXT://:9092,CONTROLLER://:9093,INSIDE://:9094",
        KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://{host}:{port},INSIDE://localhost:9094",
        KAFKA_INTER_BROKER_LISTENER_NAME="INSIDE",
        KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT",
        KAFKA_HEAP_OPTS="-Xms256m -Xmx512m",
        **{f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in BROKER_SETTINGS.items()},
    )
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS))
    with container:
        yield f"{host}:{port}"


async def delete_topics(bootstrap: str, namespace: str) -> None:
    """Removes every topic of the namespace, so that a broker that serves many tests stays small."""
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        mine = [name for name in await admin.list_topics() if name.startswith(f"{namespace}.")]
        if mine:
            await admin.delete_topics(mine)
    finally:
        await admin.close()


def main(target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="kafka-") as folder:
        broker = Broker(Path(folder))
        try:
            broker.start()
            Path(target).write_text(broker.bootstrap)
            signal.pause()
        finally:
            broker.stop()


if __name__ == "__main__":
    if missing := process_missing():
        sys.exit(missing)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the broker is ended too
    main(sys.argv[1])
