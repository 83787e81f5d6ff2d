"""The table of rights in docs/kafka.md, on a broker that checks them."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ClusterAuthorizationFailedError, TopicAuthorizationFailedError
from crewmem.cli.app import app
from crewmem_consumers.item import Rejection
from crewmem_consumers.letters import letter
from crewmem_producers.connect import open_dead_letter_log, open_log, open_registry, write_unread
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.kafka import client_options
from crewmem_producers.log import EventLog, LoggedRecord
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.started import started
from crewmem_producers.topics import ensure_topics, events_topic, needed_problems
from producers.conformance_log import record, values
from support.kafka import Broker, kafka_home
from typer.testing import CliRunner

pytestmark = pytest.mark.kafka

EVENTS, LETTERS, REGISTRY = "crewmem.events.v1", "crewmem.events.v1.dlq", "crewmem.registry.v1"
ON_EVENTS, ON_LETTERS, ON_REGISTRY = (("--topic", topic) for topic in (EVENTS, LETTERS, REGISTRY))
ALL = (*ON_EVENTS, *ON_LETTERS, *ON_REGISTRY)
RIGHTS: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [  # users, operations, resources
    (("maker",), ("Create", "Describe", "DescribeConfigs"), ALL),
    (("maker",), ("Write",), ON_EVENTS),
    (("service", "consumer"), ("Read", "Write"), (*ON_EVENTS, *ON_REGISTRY)),
    (("service", "consumer"), ("DescribeConfigs",), ALL),
    (("consumer",), ("Read", "Write"), ON_LETTERS),
    (("consumer",), ("Read",), ("--group", "crewmem.", "--resource-pattern-type", "prefixed")),
    (("crew", "sealing-crew"), ("Write",), (*ON_EVENTS, *ON_REGISTRY)),
    (("sealing-crew",), ("Read",), ON_REGISTRY),
    (("looker", "doctor", "keeper", "redriver"), ("Read",), (*ON_EVENTS, *ON_REGISTRY)),
    (("doctor",), ("DescribeConfigs",), ALL),
    (("doctor",), ("Describe",), ON_LETTERS),
    (("keeper", "redriver", "eraser"), ("Read",), ON_LETTERS),
    (("redriver", "rule-maker"), ("Write",), ON_EVENTS),
    (("eraser",), ("Read", "Write"), (*ON_EVENTS, *ON_REGISTRY)),
    (("key-maker",), ("Read", "Write"), ON_REGISTRY),
    (("reader", "elsewhere"), ("Read",), ON_EVENTS),
    (("elsewhere",), ("Write",), ON_REGISTRY),
]
USERS = sorted({user for users, _, _ in RIGHTS for user in users} | {"nobody"})


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
    await _sealing_works(settings(broker, "sealing-crew"))
    await _appends_and_reads(open_log(settings(broker, "service")))
    await _registry_works(settings(broker, "service"))
    for part in (open_log(settings(broker, "consumer")), open_dead_letter_log(settings(broker, "consumer"))):
        await _appends_and_reads(part)
    await _registry_works(settings(broker, "consumer"))
    await _group_works(settings(broker, "consumer"))


async def test_who_may_not_see_the_settings_of_a_topic_is_told_which_are_not_known(broker: Broker) -> None:
    await ensure_topics(settings(broker, "maker"))
    for user in ("service", "consumer"):
        assert await needed_problems(settings(broker, user)) == ([], [])
    assert await needed_problems(settings(broker, "looker")) == ([], [REGISTRY, LETTERS, EVENTS])


COMMANDS: list[tuple[str, list[list[str]]]] = [
    ("maker", [["topics", "create"]]),
    ("looker", [["producers"], ["keys", "list"], ["keys", "lost"], ["stats"], ["accounting"], ["generations", "list"]]),
    ("doctor", [["doctor", "--json"]]),
    ("keeper", [["backup", "create", "PLACE"], ["dlq", "list"], ["dlq", "show", "--where", "true"]]),
    ("redriver", [["dlq", what, "--where", "true", "--yes"] for what in ("redrive", "discard")]),
    ("rule-maker", [["rules", "apply", "RULES"]]),
    ("eraser", [["forget", "--session", "ann", "--erase", "--yes", "--wait", "0", "--json"]]),
    ("key-maker", [["keys", "create", "--name", "k", "--session", "*"]]),
]


@pytest.mark.parametrize(("user", "commands"), COMMANDS)
def test_each_command_of_an_operator_can_do_its_work_with_the_rights_of_the_table(
    broker: Broker, tmp_path: Path, user: str, commands: list[list[str]]
) -> None:
    asyncio.run(_with_a_letter(settings(broker, "maker"), settings(broker, "consumer")))
    (tmp_path / "rules.yaml").write_text("version: 1\nrules:\n  - {name: all, action: keep}\n")
    places = {"PLACE": str(tmp_path / "backup"), "RULES": str(tmp_path / "rules.yaml")}
    for command in commands:
        done = CliRunner().invoke(app, [places.get(word, word) for word in command], env=_environment(broker, user, tmp_path))
        if command[0] == "doctor":
            states = {finding["name"]: finding["state"] for finding in json.loads(done.stdout)}
            assert [states[name] for name in ("log", "topics", "registry")] == ["ok"] * 3
        elif "--erase" in command:
            assert done.exit_code == 1 and "not come to the erase" not in done.stderr, (done.output, done.stderr)
            assert json.loads(done.stdout)["token"], "the log has it, and the registry"
        else:
            assert done.exit_code == 0, (command, done.output, done.stderr)


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
    async with started(open_log(settings)) as log:
        await log.append([record(1), record(2, partition=1)])
    await write_unread(settings, "producer/host", {"depth": 0})


async def _sealing_works(settings: KafkaSettings) -> None:
    async with started(open_log(settings)) as log, started(open_registry(settings)) as registry:
        await registry.put("datakey/1", {"wrapped": "x"})
        await log.append([record(1)])


async def _registry_works(settings: KafkaSettings) -> None:
    async with started(open_registry(settings)) as registry:
        await registry.put("retired/1", {"retired": "now"})


async def _appends_and_reads(log: EventLog) -> None:
    async with started(log):
        (position,) = await log.append([record(3)])
        assert values(await log.read(0, position.offset)) == [b"body 3"]


async def _with_a_letter(maker: KafkaSettings, consumer: KafkaSettings) -> None:
    """The topics, and a dead letter."""
    await ensure_topics(maker)
    logged = LoggedRecord(0, 0, b"default/" + b"0" * 32, b"{", (("ce_id", b"e1"),), 0)
    async with started(open_dead_letter_log(consumer)) as letters:
        await letters.append([letter(logged, Rejection("not_json", "it is not JSON"))])


def _environment(broker: Broker, user: str, home: Path) -> dict[str, str]:
    given = settings(broker, user).model_dump(mode="json", exclude_unset=True) | {
        "kafka_sasl_password": "secret", "home": str(home), "store": str(home / "store"),
    }  # fmt: skip
    return {f"CREWMEM_{name.upper()}": str(value) for name, value in given.items()}


async def _group_works(settings: KafkaSettings) -> None:
    consumer = AIOKafkaConsumer(
        events_topic(settings.namespace), group_id="crewmem.g1", auto_offset_reset="earliest", **client_options(settings)
    )
    await consumer.start()
    async with asyncio.timeout(60):
        assert (await consumer.getone()).offset == 0
    await consumer.commit()
    await consumer.stop()
