"""The Kafka log while its broker is away: bounded, never silent, and well again without help."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from crewmem_producers import broker_wait
from crewmem_producers.broker_wait import BrokerWait
from crewmem_producers.errors import LogUnavailable, RegistryUnavailable
from crewmem_producers.log import Position
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, events_topic
from producers.conformance_log import read_all, record, values
from support.kafka import Broker, free_port

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def one_broker(tmp_path_factory: pytest.TempPathFactory, own_brokers: None) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker") / "node")
    yield broker
    broker.stop()


@pytest.fixture
def broker(one_broker: Broker) -> Broker:
    """A running broker; a test may leave it stopped."""
    if not one_broker.running:
        one_broker.start()
    return one_broker


@pytest.fixture
async def settings(broker: Broker, namespace: str) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap=broker.bootstrap, namespace=namespace, kafka_partitions=2)
    await ensure_topics(settings)
    return settings


@pytest.fixture
async def log(settings: KafkaSettings) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(settings, topic=events_topic(settings.namespace), timeout_seconds=3)
    await log.start()
    await log.append([record(0)])
    assert len(await log.read(0, 0)) == 1
    yield log
    await log.close()


async def test_a_log_without_a_broker_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    settings = KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}")
    with pytest.raises(LogUnavailable):
        await KafkaLog(settings, topic="crewmem.events.v1", timeout_seconds=3).start()
    with pytest.raises(RegistryUnavailable):
        await KafkaRegistry(settings, timeout_seconds=3).start()


@pytest.mark.parametrize("away", ["kill", "pause"])
async def test_every_call_fails_in_time_and_works_again_when_the_broker_is_back(
    broker: Broker, log: KafkaLog, away: str
) -> None:
    getattr(broker, away)()
    async with asyncio.timeout(60):
        for call in (lambda: log.append([record(1)]), lambda: log.read(0, 1), log.first, log.end):
            with pytest.raises(LogUnavailable):
                await call()
        await asyncio.gather(*(_refused(log, n) for n in range(2, 6)))  # many that wait at once
    broker.resume() if away == "pause" else broker.start()
    (position,) = await _until_acknowledged(log, 6)
    found = values(await read_all(log, 0))
    assert found[position.offset] == b"body 6"
    assert found[0] == b"body 0"
    assert (await log.end())[0] == len(found)


async def test_an_append_outlasts_a_short_outage(broker: Broker, settings: KafkaSettings) -> None:
    log = KafkaLog(settings, topic=events_topic(settings.namespace), timeout_seconds=60)
    await log.start()
    await log.append([record(0)])
    broker.kill()
    waiting = asyncio.create_task(log.append([record(n) for n in range(1, 9)]))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(broker.start)
    positions = await waiting
    assert [one.offset for one in positions] == list(range(1, 9))
    assert values(await read_all(log, 0)) == [f"body {n}".encode() for n in range(9)]
    await log.close()


async def test_nothing_acknowledged_is_lost_or_moved_while_the_broker_is_killed_again_and_again(
    broker: Broker, log: KafkaLog
) -> None:
    stop = asyncio.Event()
    acknowledged: dict[Position, bytes] = {}

    async def write(partition: int) -> None:
        number = 1000 * (partition + 1)
        while not stop.is_set():
            number += 1
            batch = [record(10 * number + n, partition=partition) for n in range(3)]
            try:
                positions = await log.append(batch)
            except LogUnavailable:
                await asyncio.sleep(0.1)
                continue
            acknowledged.update({position: one.value or b"" for position, one in zip(positions, batch, strict=True)})

    writers = [asyncio.create_task(write(partition)) for partition in (0, 1)]
    for _ in range(2):
        await asyncio.sleep(1)
        broker.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)
    await asyncio.sleep(2)
    stop.set()
    await asyncio.gather(*writers)
    await _until_acknowledged(log, 1)
    written = {one.position: one.value for partition in (0, 1) for one in await read_all(log, partition)}
    assert len(acknowledged) > 100
    assert {position: written.get(position) for position in acknowledged} == acknowledged


async def test_a_registry_says_once_that_it_cannot_follow_and_follows_again(
    broker: Broker, settings: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = KafkaRegistry(settings, timeout_seconds=3), KafkaRegistry(settings, timeout_seconds=3)
    await writer.start()
    await reader.start()
    await writer.put("active", {"generation": "g1"})
    await reader.refresh()
    caplog.set_level(logging.INFO, "crewmem_producers.following")
    broker.kill()
    with pytest.raises(RegistryUnavailable):
        await writer.put("active", {"generation": "g2"})
    async with asyncio.timeout(60):
        while _said(caplog) != {"WARNING": 2}:  # one of each
            await asyncio.sleep(0.1)
    assert reader.get("active") == {"generation": "g1"}
    await asyncio.to_thread(broker.start)
    await _until(lambda: writer.put("active", {"generation": "g3"}), RegistryUnavailable)
    async with asyncio.timeout(60):
        while reader.get("active") != {"generation": "g3"} or _said(caplog) != {"WARNING": 2, "INFO": 2}:
            await asyncio.sleep(0.1)
    await writer.close()
    await reader.close()


async def test_with_a_wait_every_call_outlasts_an_outage_which_is_said_once_and_nothing_is_written_twice(
    broker: Broker, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    wait = BrokerWait(seconds=120, say=said.append)
    log = KafkaLog(settings, topic=events_topic(settings.namespace), timeout_seconds=3, wait=wait)
    registry = KafkaRegistry(settings, timeout_seconds=3, wait=wait)
    broker.kill()
    starts = [asyncio.create_task(part.start()) for part in (log, registry)]
    async with asyncio.timeout(60):
        while not said:
            await asyncio.sleep(0.1)
    await asyncio.to_thread(broker.start)
    await asyncio.gather(*starts)
    assert len(said) == 1 and said[0].startswith("waiting up to 120 s: ")
    await log.append([record(0)])
    await registry.put("active", {"generation": "g1"})
    monkeypatch.setattr(broker_wait, "SAME_OUTAGE_SECONDS", -1.0)  # each failure is said: the calls have met the outage
    broker.kill()
    calls = [
        asyncio.create_task(call)  # type: ignore[arg-type]
        for call in (
            *(log.append([record(n)]) for n in range(1, 6)), log.read(0, 0), log.first(), log.end(),
            registry.put("active", {"generation": "g2"}),
        )
    ]  # fmt: skip
    async with asyncio.timeout(60):
        while len(said) < 2:
            await asyncio.sleep(0.1)
    await asyncio.to_thread(broker.start)
    await asyncio.gather(*calls)
    assert sorted(values(await read_all(log, 0))) == [f"body {n}".encode() for n in range(6)]
    assert registry.get("active") == {"generation": "g2"}
    await registry.close()
    await log.close()


async def test_a_wait_ends_with_the_remedy() -> None:
    said: list[str] = []
    settings = KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}")
    log = KafkaLog(settings, topic="crewmem.events.v1", timeout_seconds=3, wait=BrokerWait(seconds=0.5, say=said.append))
    with pytest.raises(LogUnavailable, match=r"waited 0.5 s: check the brokers with `crewmem doctor`"):
        await log.start()
    assert len(said) == 1


async def _refused(log: KafkaLog, number: int) -> None:
    with pytest.raises(LogUnavailable):
        await log.append([record(number)])


async def _until_acknowledged(log: KafkaLog, number: int) -> list[Position]:
    return await _until(lambda: log.append([record(number)]), LogUnavailable)


async def _until(call: Callable[[], object], error: type[Exception]) -> list[Position]:
    async with asyncio.timeout(90):
        while True:
            try:
                return await call()  # type: ignore[misc]
            except error:
                await asyncio.sleep(0.2)


def _said(caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    said = [one.levelname for one in caplog.records if one.name == "crewmem_producers.following"]
    return {level: said.count(level) for level in set(said)}
