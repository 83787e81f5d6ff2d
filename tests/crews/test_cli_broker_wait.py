"""Commands while brokers are gone: each waits, says so once, and does its work when they are back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chaos.brokers import Cluster
from crewmem.cli import parts
from crewmem.cli.app import app
from crewmem_consumers.item import Rejection
from crewmem_consumers.letters import letter
from crewmem_producers.connect import open_dead_letter_log, open_log
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.settings import KafkaSettings, load
from crewmem_producers.started import started
from crewmem_store.embedder_hashing import HashingEmbedder
from support.kafka import free_port
from typer.testing import CliRunner, Result

SECONDS = 240
PARTITIONS = 3
HEADERS = (("ce_id", b"bad"), ("ce_type", b"crewmem.memory.remembered"), ("ce_time", b"2026-01-01T00:00:00Z"))
RULES = "version: 1\nrules:\n  - name: all\n    action: keep\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, own_brokers: None) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def shell(namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The settings of a shell over the brokers of that address; what commands say on stderr is theirs alone."""
    parts.broker_wait.cache_clear()

    def set_up(bootstrap: str, *, wait_seconds: float = SECONDS) -> None:
        settings = {"KAFKA_BOOTSTRAP": bootstrap, "NAMESPACE": namespace, "KAFKA_PARTITIONS": PARTITIONS,
                    "KAFKA_WAIT_SECONDS": wait_seconds, "STORE": tmp_path / "store", "EMBEDDER": "hashing"}  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(f"CREWMEM_{name}", str(value))

    return set_up


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


class Outage:
    """Two of three brokers are killed: nothing can be written, and they come back once a command has said that it waits."""

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self._brokers = list(cluster.brokers.values())[:2]
        self._cluster = cluster
        self._met = threading.Event()
        note = parts.note
        parts.broker_wait.cache_clear()

        def heard(text: str, **style: Any) -> None:
            self.said.append(text)
            self._met.set()
            note(text, **style)

        monkeypatch.setattr(parts, "note", heard)

    def outlasted_by(self, *arguments: str) -> Result:
        for broker in self._brokers:
            broker.kill()
        helper = threading.Thread(target=self._end, daemon=True)
        helper.start()
        result = crewmem(*arguments)
        self._met.set()
        helper.join(SECONDS)
        asyncio.run(self._cluster.in_sync())
        return result

    def _end(self) -> None:
        self._met.wait(SECONDS)
        with ThreadPoolExecutor() as pool:  # at the same time: one alone waits for the quorum
            list(pool.map(lambda broker: broker.start(), self._brokers))


async def records_with(id: str) -> int:
    async with started(open_log(load(KafkaSettings))) as log:
        return sum([one.header("ce_id") == id for p in range(PARTITIONS) for one in await log.read(p, 0)])


async def dead_letter() -> None:
    broken = LoggedRecord(0, 0, b"default/x", b"no json at all", HEADERS, 0)
    made = letter(broken, Rejection("not_json", "it is no JSON"))
    async with started(open_dead_letter_log(load(KafkaSettings))) as log:
        await log.append([Record(made.key, made.value, made.headers, partition=0)])


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(1200)
def test_each_command_waits_out_brokers_says_so_once_and_does_its_work_once(
    cluster: Cluster, shell: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(cluster.bootstrap)
    monkeypatch.setattr("crewmem_consumers.opening.opens", lambda name, *, threads: HashingEmbedder())
    (tmp_path / "r.yaml").write_text(RULES)
    assert crewmem("topics", "create").exit_code == 0
    asyncio.run(dead_letter())
    for arguments, codes in (
        (("keys", "create", "--name", "k", "--session", "s:read"), {0}),
        (("rules", "apply", str(tmp_path / "r.yaml")), {0}),
        (("dlq", "redrive", "bad", "--yes"), {0}),
        (("forget", "--session", "s", "--erase", "--yes", "--json", "--wait", "0"), {0, 1}),  # 1: a consumer has to clean up
        (("replay", "--json"), {0}),
    ):
        outage = Outage(cluster, monkeypatch)
        done = outage.outlasted_by(*arguments)
        assert done.exit_code in codes, (arguments, done.output, done.exception)
        assert len(outage.said) == 1 and outage.said[0].startswith(f"waiting up to {SECONDS} s: "), (arguments, outage.said)
        assert outage.said[0] in done.stderr
    assert [key["name"] for key in json.loads(crewmem("keys", "list", "--json").stdout)] == ["k"]
    assert asyncio.run(records_with("bad")) == 1


@pytest.mark.kafka
@pytest.mark.parametrize("arguments", [("keys", "list"), ("stats",), ("topics", "create"), ("replay",), ("dlq", "list")])
def test_a_command_ends_with_3_and_the_remedy_when_the_brokers_do_not_come_back(
    shell: Callable[..., None], arguments: tuple[str, ...]
) -> None:
    shell(f"127.0.0.1:{free_port()}", wait_seconds=1)
    done = crewmem(*arguments)
    assert done.exit_code == 3, done.output
    assert done.stderr.count("waiting up to 1 s: ") == 1
    assert "waited 1 s: check the brokers with `crewmem doctor`" in done.stderr
