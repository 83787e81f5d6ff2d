import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from crewmem_producers import master_key
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_keyring, open_log, open_registry
from crewmem_producers.errors import (
    EventTooLarge,
    KeyMissing,
    LogRefused,
    LogUnavailable,
    RegistryUnavailable,
    TransportRefused,
    Unavailable,
)
from crewmem_producers.events import Event
from crewmem_producers.kafka_reader import KafkaReader
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, Position, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.publisher import Publisher
from crewmem_producers.registry import Registry, Value
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import CrewSettings, load
from crewmem_producers.started import started
from crewmem_producers.topics import ensure_topics
from crewmem_producers.transport import Delivered, Refused, RelayReport
from crewmem_producers.transport_kafka import KafkaTransport
from producers.conformance_transport import TransportConformance
from support.events import kickoff, remembered
from support.kafka import Broker

MASTER = MasterKeys.parse(master_key.generate())


class LogDestination:
    """Reads log and registry back, with connections of its own."""

    def __init__(
        self, open_log: Callable[[], EventLog], open_registry: Callable[[], Registry], transport: KafkaTransport
    ) -> None:
        self._open_log, self._open_registry, self._transport = open_log, open_registry, transport
        self.sealed: list[bool] = []

    async def events(self) -> Sequence[Event]:
        log, registry = self._open_log(), self._open_registry()
        await log.start()
        await registry.start()
        keyring = Keyring(registry=registry, master=lambda: MASTER)
        try:
            events: list[Event] = []
            for partition, end in (await log.end()).items():
                offset = 0
                while offset < end:
                    records = await log.read(partition, offset)
                    events += [decode(keyring.open(record)) for record in records]
                    self.sealed += [key_id(record) is not None for record in records]
                    offset = records[-1].offset + 1
            return events
        finally:
            await registry.close()
            await log.close()

    async def reports(self) -> Sequence[str]:
        await self._transport.close()  # waits for a report that is under way
        registry = self._open_registry()
        await registry.start()
        try:
            return [f"{key} {json.dumps(value)}" for key, value in registry.items("producer/").items()]
        finally:
            await registry.close()


class OnALog(TransportConformance):
    """The suite on any log; subclasses give the fixture `factories`."""

    @pytest.fixture
    async def transport(
        self, factories: tuple[Callable[[], EventLog], Callable[[], Registry]]
    ) -> AsyncIterator[KafkaTransport]:
        async def write(key: str, value: Value) -> None:
            async with started(factories[1]()) as registry:
                await registry.put(key, value)

        transport = KafkaTransport(open_log=factories[0], write=write, source="host-1", tenant="default")
        yield transport
        await transport.close()

    @pytest.fixture
    def destination(
        self, factories: tuple[Callable[[], EventLog], Callable[[], Registry]], transport: KafkaTransport
    ) -> LogDestination:
        return LogDestination(*factories, transport)


@pytest.mark.kafka
class TestOnKafka(OnALog):
    @pytest.fixture
    async def factories(self, kafka: str, namespace: str) -> tuple[Callable[[], EventLog], Callable[[], Registry]]:
        settings = load(CrewSettings, kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=3)
        await ensure_topics(settings)
        return lambda: open_log(settings), lambda: open_registry(settings)


class Sealed(OnALog):
    """The suite with the public half of a master key. The fixture `settings` says where log and registry are."""

    @pytest.fixture
    async def transport(self, settings: CrewSettings) -> AsyncIterator[KafkaTransport]:
        transport = KafkaTransport.of(settings)
        yield transport
        await transport.close()

    @pytest.fixture
    def factories(self, settings: CrewSettings) -> tuple[Callable[[], EventLog], Callable[[], Registry]]:
        return lambda: open_log(settings), lambda: open_registry(settings)

    async def test_everything_is_sealed_and_the_sender_can_read_nothing_back(
        self, transport: KafkaTransport, destination: LogDestination, settings: CrewSettings
    ) -> None:
        await transport.send([remembered("a"), kickoff("b")])
        assert len(await destination.events()) == 2 and destination.sealed == [True, True]
        log, registry = open_log(settings), open_registry(settings)
        await log.start()
        await registry.start()
        partition = next(number for number, end in (await log.end()).items() if end)
        with pytest.raises(KeyMissing, match="CREWMEM_MASTER_KEY"):
            open_keyring(settings, registry).open((await log.read(partition, 0))[0])
        await registry.close()
        await log.close()


class TestSealedOnTheSqliteLog(Sealed):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> CrewSettings:
        return load(CrewSettings, home=tmp_path, master_public_key=MASTER.current.text)


@pytest.mark.kafka
class TestSealedOnKafka(Sealed):
    @pytest.fixture
    async def settings(self, kafka: str, namespace: str) -> CrewSettings:
        made = load(
            CrewSettings, kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=3, master_public_key=MASTER.current.text
        )
        await ensure_topics(made)
        return made


class TestOnTheSqliteLog(OnALog):
    @pytest.fixture
    def factories(self, tmp_path: Path) -> tuple[Callable[[], EventLog], Callable[[], Registry]]:
        path = tmp_path / "log.sqlite3"
        return (
            lambda: SqliteLog(path, topic="crewmem.events.v1", partitions=3),
            lambda: SqliteRegistry(path, namespace="crewmem"),
        )


class FakeLog:
    """A log in memory that fails as told: at `start`, at `append`, or for bodies over `largest` bytes."""

    partitions = 1

    def __init__(self, *, start: Exception | None = None, append: Exception | None = None, largest: int = 10**9) -> None:
        self.start_error, self.append_error, self.largest = start, append, largest
        self.records: list[Record] = []
        self.closed = 0

    async def start(self) -> None:
        if self.start_error is not None:
            raise self.start_error

    async def append(self, records: Sequence[Record]) -> list[Position]:
        if self.append_error is not None:
            raise self.append_error
        if any(len(record.value or b"") > self.largest for record in records):
            raise EventTooLarge("a record is over the broker's limit")
        self.records += records
        return [Position(0, len(self.records) - len(records) + index) for index in range(len(records))]

    async def close(self) -> None:
        self.closed += 1


class Written:
    """What was written into the registry; `error` is raised instead."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.values: dict[str, Value] = {}

    async def __call__(self, key: str, value: Value) -> None:
        if self.error is not None:
            raise self.error
        self.values[key] = value


def transport_on(log: FakeLog, written: Written | None = None, clock: Callable[[], float] = lambda: 0.0) -> KafkaTransport:
    return KafkaTransport(
        open_log=lambda: log,  # type: ignore[arg-type, return-value]
        write=written or Written(),
        source="host-1",
        tenant="acme",
        clock=clock,
    )


@pytest.mark.parametrize("when", ["start", "append"])
async def test_a_log_that_refuses_its_user_is_told_from_one_that_is_away(when: str) -> None:
    refused, away = FakeLog(**{when: LogRefused("no topic")}), FakeLog(**{when: LogUnavailable("away")})  # type: ignore[arg-type]
    with pytest.raises(TransportRefused, match="no topic") as caught:
        await transport_on(refused).send([remembered("x")])
    assert isinstance(caught.value.__cause__, LogRefused)
    with pytest.raises(Unavailable, match="away"):
        await transport_on(away).send([remembered("x")])


async def test_a_log_that_failed_to_start_is_closed_and_opened_anew() -> None:
    log = FakeLog(start=LogUnavailable("away"))
    transport = transport_on(log)
    with pytest.raises(LogUnavailable):
        await transport.send([remembered("x")])
    assert log.closed == 1
    log.start_error = None
    assert await transport.send([remembered("x")]) == [Delivered("1.0.0")]


async def test_the_one_record_that_a_broker_does_not_take_is_found_and_refused() -> None:
    log = FakeLog(largest=2000)
    import random

    large = remembered(random.Random(1).randbytes(4000).hex())
    fates = await transport_on(log).send([remembered("a"), large, remembered("b"), remembered("c")])
    assert [type(fate) for fate in fates] == [Delivered, Refused, Delivered, Delivered]
    assert len(log.records) == 3


async def test_an_event_over_what_any_log_takes_is_refused_alone() -> None:
    import random

    fates = await transport_on(FakeLog()).send([kickoff(random.Random(1).randbytes(13_000_000).hex()), remembered("a")])
    assert [type(fate) for fate in fates] == [Refused, Delivered]


async def test_reports_are_written_every_thirty_seconds_under_the_hosts_name() -> None:
    now, written = [0.0], Written()
    transport = transport_on(FakeLog(), written, clock=lambda: now[0])
    for seconds, depth in ((0.0, 1), (29.0, 2), (30.0, 3)):
        now[0] = seconds
        await transport.report(RelayReport(depth, 1.5, "9.9"))
        if (task := transport._reporting) is not None:
            await task
        assert written.values["producer/host-1"]["depth"] == {1: 1, 2: 1, 3: 3}[depth]
    value = written.values["producer/host-1"]
    assert set(value) == {"transport", "tenant", "depth", "oldest_seconds", "version", "seen_at"}
    assert (value["transport"], value["tenant"]) == ("kafka", "acme")


async def test_a_registry_that_is_away_hinders_nothing_and_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "crewmem_producers")
    now, written = [0.0], Written(RegistryUnavailable("no registry"))
    transport = transport_on(FakeLog(), written, clock=lambda: now[0])
    for error in (written.error, written.error, None):
        now[0] += 30
        written.error = error
        await transport.report(RelayReport(1, 1.0, "9.9"))
        assert await transport.send([remembered("a")])
        if (task := transport._reporting) is not None:
            await task
    await transport.close()
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO"] and "no registry" in caplog.text


@pytest.mark.kafka
async def test_a_report_reads_nothing_of_the_registry(kafka: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(CrewSettings, kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=1, source="host-1")
    await ensure_topics(settings)
    read: list[int] = []
    monkeypatch.setattr(KafkaReader, "read", lambda self, *place, limit: read.append(limit))
    transport = KafkaTransport.of(settings)
    await transport.report(RelayReport(7, 1.0, "9.9"))
    await transport.close()  # waits for it
    monkeypatch.undo()
    assert read == []
    async with started(open_registry(settings)) as registry:
        assert registry.items("producer/")["producer/host-1"]["depth"] == 7


@pytest.mark.kafka
def test_what_is_published_while_the_broker_is_away_arrives_when_it_is_back(
    new_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    import asyncio

    broker = new_broker()
    broker.start()
    settings = load(CrewSettings, home=tmp_path, kafka_bootstrap=broker.bootstrap, kafka_partitions=2)
    asyncio.run(ensure_topics(settings))
    publisher = Publisher(settings)
    try:
        first = publisher.publish(remembered("before")).token(60)
        broker.kill()
        receipts = [publisher.publish(remembered(str(number))) for number in range(10)]
        assert publisher.flush(0.2) is False
        broker.start()
        tokens = [receipt.token(120) for receipt in receipts]
    finally:
        publisher.close()
    partition = first.split(".")[1]
    offsets = [int(token.removeprefix(f"1.{partition}.")) for token in tokens]
    assert offsets == sorted(offsets) and len(set(offsets)) == 10
