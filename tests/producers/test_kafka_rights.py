"""The table of rights in docs/kafka.md, on a broker that checks them."""

import asyncio
import subprocess
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ClusterAuthorizationFailedError, TopicAuthorizationFailedError
from crewmem_producers.connect import open_dead_letter_log, open_log, open_registry
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.kafka import client_options
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, events_topic
from producers.conformance_log import record, values
from support.kafka import Broker, kafka_home

pytestmark = pytest.mark.kafka

USERS = ("maker", "service", "consumer", "crew", "reader", "elsewhere", "nobody")
EVENTS, LETTERS, REGISTRY = "crewmem.events.v1", "crewmem.events.v1.dlq", "crewmem.registry.v1"
ALL = ("--topic", EVENTS, "--topic", LETTERS, "--topic", REGISTRY)
RIGHTS: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [  # users, operations, resources
    (("maker",), ("Create", "Describe", "DescribeConfigs"), ALL),
    (("service", "consumer"), ("Read", "Write"), ALL),
    (("crew",), ("Write",), ("--topic", EVENTS)),
    (("reader", "elsewhere"), ("Read",), ("--topic", EVENTS)),
    (("elsewhere",), ("Write",), ("--topic", REGISTRY)),
    (("crew",), ("Read", "Write"), ("--topic", REGISTRY)),
    (("consumer",), ("Read",), ("--group", "crewmem.", "--resource-pattern-type", "prefixed")),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, own_brokers: None) -> Iterator[Broker]:
    logins = " ".join(f'user_{user}="secret"' for user in USERS)
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # who comes over the plain listener: this test and the controller
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {logins};"
        ),
    }
    broker = Broker(tmp_path_factory.mktemp("broker") / "node", listeners={"SASL": "SASL_PLAINTEXT"}, properties=properties)
    broker.start()
    for users, operations, resources in RIGHTS:
        _allow(broker, users, operations, resources)
    yield broker
    broker.stop()


def _allow(broker: Broker, users: tuple[str, ...], operations: tuple[str, ...], resources: tuple[str, ...]) -> None:
    home = kafka_home()
    assert home is not None
    who = [word for user in users for word in ("--allow-principal", f"User:{user}")]
    what = [word for operation in operations for word in ("--operation", operation)]
    command = [home / "bin" / "kafka-acls.sh", "--bootstrap-server", broker.bootstrap, "--add", *who, *what, *resources]
    subprocess.run(command, check=True, capture_output=True)


def settings(broker: Broker, user: str) -> KafkaSettings:
    return KafkaSettings(
        kafka_bootstrap=f"127.0.0.1:{broker.port_of('SASL')}", kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username=user, kafka_sasl_password="secret", kafka_partitions=2,
    )  # fmt: skip


async def test_each_kind_of_process_can_do_its_work_with_the_rights_of_the_table(broker: Broker) -> None:
    assert await ensure_topics(settings(broker, "maker")) == []
    await _crew_works(settings(broker, "crew"))
    await _service_works(settings(broker, "service"))
    await _service_works(settings(broker, "consumer"))
    await _group_works(settings(broker, "consumer"))


async def test_a_crew_that_publishes_reads_nothing_back(broker: Broker) -> None:
    await ensure_topics(settings(broker, "maker"))
    log = open_log(settings(broker, "crew"))
    await log.start()
    (position,) = await log.append([record(1)])
    with pytest.raises(LogUnavailable, match="TopicAuthorizationFailedError"):
        await log.read(position.partition, position.offset)
    await log.close()
    with pytest.raises(LogRefused, match=r"shows no topic .* the right to it"):
        await open_dead_letter_log(settings(broker, "crew")).start()


@pytest.mark.parametrize(
    ("user", "cause"), [("reader", ClusterAuthorizationFailedError), ("elsewhere", TopicAuthorizationFailedError)]
)
async def test_who_may_read_but_not_write_is_told_so_and_not_that_the_broker_is_away(
    broker: Broker, user: str, cause: type[Exception]
) -> None:
    await ensure_topics(settings(broker, "maker"))
    log = open_log(settings(broker, user))
    await log.start()
    with pytest.raises(LogRefused, match="does not let this user write") as caught:
        await log.append([record(1)])
    assert isinstance(caught.value.__cause__, cause)
    await log.close()


async def test_a_user_without_rights_is_told_so(broker: Broker) -> None:
    await ensure_topics(settings(broker, "maker"))
    for part in (open_log(settings(broker, "nobody")), open_registry(settings(broker, "nobody"))):
        with pytest.raises(LogRefused, match="the right to it"):
            await part.start()
    with pytest.raises(LogRefused, match="TopicAuthorizationFailedError"):
        await ensure_topics(settings(broker, "nobody"))


async def _crew_works(settings: KafkaSettings) -> None:
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    await log.append([record(1), record(2, partition=1)])
    await registry.put("producer/host", {"depth": 0})
    await log.close()
    await registry.close()


async def _service_works(settings: KafkaSettings) -> None:
    registry = open_registry(settings)
    await registry.start()
    await registry.put("active", {"generation": "g1"})
    for log in (open_log(settings), open_dead_letter_log(settings)):
        await log.start()
        (position,) = await log.append([record(3)])
        assert values(await log.read(0, position.offset)) == [b"body 3"]
        await log.close()
    await registry.close()


async def _group_works(settings: KafkaSettings) -> None:
    consumer = AIOKafkaConsumer(
        events_topic(settings.namespace), group_id="crewmem.g1", auto_offset_reset="earliest", **client_options(settings)
    )
    await consumer.start()
    async with asyncio.timeout(60):
        assert (await consumer.getone()).offset == 0
    await consumer.commit()
    await consumer.stop()
