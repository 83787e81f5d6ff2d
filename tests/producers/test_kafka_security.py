"""SASL and TLS against the real broker: each way in works for aiokafka and FastStream, and a wrong one says so."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.kafka import bootstrap_servers, security
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import ensure_topics, events_topic
from producers.conformance_log import record, values
from support.certificates import Authority
from support.kafka import Broker

pytestmark = pytest.mark.kafka

PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice\'s secret";'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
LISTENERS = {"SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "TLS": "SSL", "MUTUAL": "SSL"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority, own_brokers: None) -> Iterator[Broker]:
    """A broker with a listener for each way in."""
    cert, key = authority.issue("broker")
    both = cert.with_name("broker-key-and-certificate.pem")
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.mutual.ssl.client.auth": "required",
    }
    for name in ("sasl", "sasltls"):
        properties[f"listener.name.{name}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
        properties[f"listener.name.{name}.plain.sasl.jaas.config"] = PLAIN
        properties[f"listener.name.{name}.scram-sha-256.sasl.jaas.config"] = SCRAM
        properties[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = SCRAM
    users = [
        option
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for option in ("--add-scram", f"{mechanism}=[name=alice,password=alice's secret]")
    ]
    broker = Broker(
        tmp_path_factory.mktemp("broker") / "node", listeners=LISTENERS, properties=properties, format_options=tuple(users)
    )
    broker.start()
    yield broker
    broker.stop()


MakeSettings = Callable[..., KafkaSettings]


@pytest.fixture
def make_settings(broker: Broker, authority: Authority, namespace: str) -> MakeSettings:
    """Settings for a listener, with everything right but for what is given."""

    def make(listener: str, **changes: object) -> KafkaSettings:
        protocol = LISTENERS[listener]
        values: dict[str, object] = {
            "kafka_bootstrap": f"127.0.0.1:{broker.port_of(listener)}", "kafka_security_protocol": protocol,
            "namespace": namespace, "kafka_partitions": 1,
        }  # fmt: skip
        if protocol.startswith("SASL"):
            values |= {"kafka_sasl_username": "alice", "kafka_sasl_password": "alice's secret"}
        if protocol.endswith("SSL"):
            values |= {"kafka_ca_file": authority.ca_file}
        return KafkaSettings(**(values | changes))  # type: ignore[arg-type]

    return make


WAYS: list[tuple[str, dict[str, object]]] = [
    ("SASL", {"kafka_sasl_mechanism": "PLAIN"}),
    ("SASL", {"kafka_sasl_mechanism": "SCRAM-SHA-256"}),
    ("SASL", {"kafka_sasl_mechanism": "SCRAM-SHA-512"}),
    ("SASLTLS", {"kafka_sasl_mechanism": "PLAIN"}),
    ("SASLTLS", {"kafka_sasl_mechanism": "SCRAM-SHA-512"}),
    ("TLS", {}),
]


@pytest.mark.parametrize(("listener", "changes"), WAYS)
async def test_topics_log_and_registry_work_over_each_way_in(
    make_settings: MakeSettings, listener: str, changes: dict[str, object]
) -> None:
    settings = make_settings(listener, **changes)
    await _works(settings)


@pytest.mark.parametrize("password", [None, b"of the key"])
async def test_a_client_certificate_opens_a_listener_that_asks_for_one(
    make_settings: MakeSettings, authority: Authority, password: bytes | None
) -> None:
    cert, key = authority.issue(f"client-{bool(password)}", password=password)
    given = {"kafka_cert_file": cert, "kafka_key_file": key, "kafka_key_password": password.decode() if password else None}
    await _works(make_settings("MUTUAL", **given))


@pytest.mark.parametrize(("listener", "changes"), WAYS)
async def test_faststream_reaches_the_same_broker_over_each_way_in(
    make_settings: MakeSettings, listener: str, changes: dict[str, object]
) -> None:
    from faststream.kafka import KafkaBroker

    settings = make_settings(listener, **changes)
    faststream = KafkaBroker(bootstrap_servers(settings), security=security(settings))
    await faststream.start()
    assert await faststream.ping(timeout=30)
    await faststream.stop()


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("SASL", {"kafka_sasl_password": "wrong"}, "uthentication"),
    ("SASL", {"kafka_sasl_username": "nobody", "kafka_sasl_mechanism": "SCRAM-SHA-256"}, "uthentication"),
    ("SASLTLS", {"kafka_ca_file": None}, "CERTIFICATE_VERIFY_FAILED"),
    ("TLS", {"kafka_ca_file": None}, "CERTIFICATE_VERIFY_FAILED"),
]


@pytest.mark.parametrize(("listener", "changes", "reason"), WRONG)
async def test_a_client_that_is_refused_is_told_why_and_what_to_check(
    make_settings: MakeSettings, listener: str, changes: dict[str, object], reason: str
) -> None:
    settings = make_settings(listener, **changes)
    with pytest.raises(LogRefused, match=f"{reason}.*check CREWMEM_KAFKA_SECURITY_PROTOCOL"):
        await KafkaLog(settings, topic="any").start()
    with pytest.raises(LogRefused, match=reason):
        await KafkaRegistry(settings).start()


async def test_an_authority_that_did_not_sign_the_broker_is_refused(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings("TLS", kafka_ca_file=Authority(tmp_path, name="another").ca_file)
    with pytest.raises(LogRefused, match="CERTIFICATE_VERIFY_FAILED"):
        await ensure_topics(settings)


async def _works(settings: KafkaSettings) -> None:
    await ensure_topics(settings)
    log, registry = KafkaLog(settings, topic=events_topic(settings.namespace)), KafkaRegistry(settings)
    await log.start()
    await registry.start()
    (position,) = await log.append([record(1)])
    assert values(await log.read(0, position.offset)) == [b"body 1"]
    await registry.put("active", {"generation": "g1"})
    await log.close()
    await registry.close()


async def test_tls_where_the_broker_speaks_plainly_is_refused(broker: Broker, make_settings: MakeSettings) -> None:
    settings = make_settings("TLS", kafka_bootstrap=broker.bootstrap)
    with pytest.raises((LogRefused, LogUnavailable), match="check CREWMEM_KAFKA"):
        await KafkaLog(settings, topic="any", timeout_seconds=5).start()


async def test_speaking_plainly_where_the_broker_wants_tls_names_the_settings(make_settings: MakeSettings) -> None:
    settings = make_settings("TLS", kafka_security_protocol="PLAINTEXT", kafka_ca_file=None)
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1.*PLAINTEXT.*CREWMEM_KAFKA_SECURITY_PROTOCOL"):
        await KafkaLog(settings, topic="any", timeout_seconds=10).start()
