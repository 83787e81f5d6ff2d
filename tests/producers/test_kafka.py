"""The settings of Kafka as client options, and aiokafka's errors as crewmem's; no broker is needed."""

import inspect
import ssl
from pathlib import Path

import aiokafka.errors
import pytest
from crewmem_producers.errors import CrewmemError, EventTooLarge, LogUnavailable, SettingsError
from crewmem_producers.kafka import answering, bootstrap_servers, client_options, security, ssl_context
from crewmem_producers.settings import KafkaSettings
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512
from support.certificates import Authority

ERRORS = [
    kind for _, kind in inspect.getmembers(aiokafka.errors, inspect.isclass)
    if issubclass(kind, Exception) and kind.__module__ == "aiokafka.errors"
]  # fmt: skip


def settings(**values: object) -> KafkaSettings:
    return KafkaSettings(**({"kafka_bootstrap": "k1:9092, k2:9093,", "source": "host"} | values))  # type: ignore[arg-type]


def test_a_plain_broker_needs_its_address_alone() -> None:
    assert client_options(settings()) == {
        "bootstrap_servers": ["k1:9092", "k2:9093"], "client_id": "crewmem-host", "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }  # fmt: skip
    assert isinstance(security(settings()), BaseSecurity)


@pytest.mark.parametrize("address", ["", " , ", "host:port", "a:1:b"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(SettingsError, match="CREWMEM_KAFKA_BOOTSTRAP"):
        bootstrap_servers(settings(kafka_bootstrap=address))


@pytest.mark.parametrize(
    ("mechanism", "kind"), [("PLAIN", SASLPlaintext), ("SCRAM-SHA-256", SASLScram256), ("SCRAM-SHA-512", SASLScram512)]
)
def test_sasl_credentials_reach_aiokafka_and_faststream(mechanism: str, kind: type[SASLPlaintext]) -> None:
    given = settings(
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism=mechanism,
        kafka_sasl_username="u",
        kafka_sasl_password="p",
    )
    options = client_options(given)
    assert (options["sasl_mechanism"], options["sasl_plain_username"], options["sasl_plain_password"]) == (mechanism, "u", "p")
    made = security(given)
    assert type(made) is kind
    assert (made.username, made.password, made.use_ssl) == ("u", "p", False)


def test_tls_checks_the_broker_against_the_authority_that_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl_context(settings(kafka_security_protocol="SSL", kafka_ca_file=authority.ca_file))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    assert security(settings(kafka_security_protocol="SSL", kafka_ca_file=authority.ca_file)).use_ssl


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"kafka_security_protocol": "SASL_PLAINTEXT"}, "CREWMEM_KAFKA_SASL_USERNAME"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_username": "u"}, "CREWMEM_KAFKA_SASL_PASSWORD"),
        ({"kafka_sasl_username": "u", "kafka_sasl_password": "p"}, "CREWMEM_KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_ca_file": "/ca.pem"}, "CREWMEM_KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_security_protocol": "SSL", "kafka_ca_file": "/no/ca.pem"}, "CREWMEM_KAFKA_CA_FILE names /no/ca.pem"),
        ({"kafka_security_protocol": "SSL", "kafka_cert_file": "/no/c.pem"}, "CREWMEM_KAFKA_CERT_FILE names /no/c.pem"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        client_options(settings(**values))


def test_a_key_with_a_wrong_password_or_a_file_that_is_no_certificate_is_a_setting_at_fault(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("client", password=b"right")
    for values in (
        {"kafka_cert_file": cert, "kafka_key_file": key, "kafka_key_password": "wrong"},
        {"kafka_cert_file": cert, "kafka_key_file": key},
        {"kafka_ca_file": key},
    ):
        with pytest.raises(SettingsError, match="certificates for Kafka cannot be used"):
            client_options(settings(kafka_security_protocol="SSL", **values))


@pytest.mark.parametrize("kind", [*ERRORS, OSError, ConnectionResetError, TimeoutError, ssl.SSLError])
async def test_every_error_of_aiokafka_becomes_one_of_crewmem(kind: type[Exception]) -> None:
    with pytest.raises(CrewmemError) as caught:
        async with answering("acknowledge", seconds=60):
            raise kind("broken")
    wanted = EventTooLarge if issubclass(kind, aiokafka.errors.MessageSizeTooLargeError) else LogUnavailable
    assert type(caught.value) is wanted
    assert isinstance(caught.value.__cause__, kind)


async def test_an_answer_that_does_not_come_is_log_unavailable() -> None:
    import asyncio

    with pytest.raises(LogUnavailable, match="did not acknowledge within"):
        async with answering("acknowledge", seconds=0.01):
            await asyncio.Event().wait()


async def test_errors_that_are_not_of_the_log_pass_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        async with answering("acknowledge", seconds=60):
            raise ZeroDivisionError
