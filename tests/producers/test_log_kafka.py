"""The Kafka log: the conformance suite, and what only Apache Kafka can do to a log."""

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from crewmem_producers.errors import EventTooLarge, LogRefused
from crewmem_producers.kafka_admin import kafka_admin
from crewmem_producers.log import Record
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics
from producers.conformance_log import LogConformance, OpenLog, read_all, record, values
from producers.conformance_log_processes import LogProcessConformance

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: str, namespace: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, source="test")


class MadeLog(KafkaLog):
    """A log whose topic is made when it starts, as the conformance suite wants it."""

    def __init__(self, settings: KafkaSettings, *, topic: str, new_partitions: int) -> None:
        super().__init__(settings, topic=topic)
        self._place = (settings, topic, new_partitions)

    async def start(self) -> None:
        settings, topic, partitions = self._place
        async with kafka_admin(settings) as admin:
            await admin.create(
                topic, partitions=partitions, replication=1, settings={"max.message.bytes": "12582912", "retention.ms": "-1"}
            )
            while await admin.partitions_of(topic) is None:
                pass
        await super().start()


@pytest.fixture
def open_log(settings: KafkaSettings) -> OpenLog:
    return lambda partitions: MadeLog(settings, topic=f"{settings.namespace}.log", new_partitions=partitions)


class TestKafkaLog(LogConformance):
    pass


class TestKafkaLogProcesses(LogProcessConformance):
    @pytest.fixture
    async def settings(self, kafka: str, namespace: str) -> KafkaSettings:
        settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=1)
        await ensure_topics(settings)
        return settings


class _RawName(str):
    """A header name that is written as other bytes than its own."""

    raw = b"odd \xff\xfe"

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return self.raw


async def _send_raw(settings: KafkaSettings, topic: str, *, compression: str | None) -> None:
    """Three records in one batch, as a careless program could write them: the second one's header name is no UTF-8."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, compression_type=compression)
    await producer.start()
    batch = producer.create_batch()
    codec = producer._COMPRESSORS[compression][1] if compression else 0
    batch._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 1 << 20)
    batch.append(key=b"k", value=b"good", timestamp=None, headers=[("fine", b"1")])
    batch.append(key=None, value=None, timestamp=None, headers=[(_RawName("x"), b"\xff"), ("null", None)])
    batch.append(key=b"k", value=b"good too", timestamp=None, headers=[("größe", b"")])
    await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
async def test_a_header_name_that_is_no_utf_8_hides_nothing(
    settings: KafkaSettings, open_log: OpenLog, compression: str | None
) -> None:
    log = open_log(1)
    await log.start()
    await _send_raw(settings, f"{settings.namespace}.log", compression=compression)
    await log.append([record(7)])
    found = await read_all(log, 0)
    assert [(one.key, one.value, one.headers) for one in found] == [
        (b"k", b"good", (("fine", b"1"),)),
        (None, None, (("odd \udcff\udcfe", b"\xff"), ("null", b""))),
        (b"k", b"good too", (("größe", b""),)),
        (b"acme/key", b"body 7", record(7).headers),
    ]
    assert len({one.crc for one in found}) == 4
    # ... and it can be appended elsewhere, as a dead letter is.
    await log.append([Record(one.key, one.value, one.headers, 0) for one in found])
    copies = (await read_all(log, 0))[4:]
    assert values(copies) == values(found)
    assert copies[1].headers == (("odd \\xff\\xfe", b"\xff"), ("null", b""))
    await log.close()


async def test_a_topic_that_takes_less_refuses_a_large_record_for_ever_and_takes_the_others(settings: KafkaSettings) -> None:
    topic = f"{settings.namespace}.small"
    async with kafka_admin(settings) as admin:
        await admin.create(topic, partitions=1, replication=1, settings={"max.message.bytes": "100000"})
    log = MadeLog(settings, topic=topic, new_partitions=1)
    await log.start()
    with pytest.raises(EventTooLarge):
        await log.append([record(1, value=bytes(200_000))])
    await log.append([record(2)])
    assert values(await read_all(log, 0)) == [b"body 2"]
    await log.close()


async def test_an_append_of_many_records_and_of_very_large_ones_comes_back_in_order(open_log: OpenLog) -> None:
    log = open_log(3)
    await log.start()
    many = [record(n, partition=n % 3) for n in range(3000)]
    positions = await log.append(many)
    assert [one.offset for one in positions if one.partition == 1] == list(range(1000))
    large = [record(n, partition=0, value=bytes([n]) * 11_000_000) for n in range(8)]  # more than a request may hold
    assert [one.offset for one in await log.append(large)] == list(range(1000, 1008))
    found = await read_all(log, 0)
    assert values(found) == [one.value for one in many if one.partition == 0] + [one.value for one in large]
    await log.close()


async def test_records_that_the_broker_has_deleted_are_passed_over_from_the_first_one_there(
    settings: KafkaSettings, open_log: OpenLog
) -> None:
    log = open_log(1)
    await log.start()
    await log.append([record(n) for n in range(10)])
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(f"{settings.namespace}.log", 0): RecordsToDelete(4)})
    await admin.close()
    assert (await log.first(), await log.end()) == ({0: 4}, {0: 10})
    assert [one.offset for one in await log.read(0, 0, limit=2)] == [4, 5]
    assert [one.offset for one in await log.read(0, 6)] == [6, 7, 8, 9]
    await log.close()


async def test_what_a_transaction_leaves_between_records_is_passed_over(settings: KafkaSettings, open_log: OpenLog) -> None:
    log = open_log(1)
    await log.start()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, transactional_id=settings.namespace)
    await producer.start()
    for n in range(2):
        async with producer.transaction():
            await producer.send_and_wait(f"{settings.namespace}.log", f"body {n}".encode(), partition=0)
    await producer.stop()
    assert await log.end() == {0: 4}  # two records, two markers
    assert [one.offset for one in await log.read(0, 0)] == [0, 2]
    assert await log.read(0, 3) == []
    await log.close()


async def test_a_topic_that_is_not_there_is_refused_and_not_made(settings: KafkaSettings) -> None:
    with pytest.raises(LogRefused, match="crewmem topics create"):
        await KafkaLog(settings, topic=f"{settings.namespace}.none").start()
    async with kafka_admin(settings) as admin:
        assert await admin.partitions_of(f"{settings.namespace}.none") is None
