"""How Apache Kafka is reached: the settings as what aiokafka and FastStream take, and aiokafka's errors as crewmem's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from crewmem_producers.compat import timeout
from crewmem_producers.errors import EventTooLarge, LoginRefused, LogUnavailable, SettingsError, missing_extra
from crewmem_producers.setting_sources import PREFIX
from crewmem_producers.settings import KafkaSettings

try:
    from aiokafka.conn import collect_hosts
    from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError, MessageSizeTooLargeError
except ImportError as error:
    raise missing_extra("kafka", "aiokafka") from error

if TYPE_CHECKING:
    from faststream.security import BaseSecurity

TIMEOUT_SECONDS = 15.0
"""How long one call may take before the log counts as unavailable."""

# aiokafka retries by itself for longer than that; what it raises in the end is one of these.
_KAFKA_ERRORS = (KafkaError, ConsumerStoppedError, IllegalOperation, OSError, asyncio.TimeoutError)


def bootstrap_servers(settings: KafkaSettings) -> list[str]:
    """`host:port` of each bootstrap broker. Raises SettingsError for anything else."""
    servers = [part.strip() for part in (settings.kafka_bootstrap or "").split(",") if part.strip()]
    try:
        hosts = collect_hosts(servers)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}KAFKA_BOOTSTRAP is host:port,host:port,..., not {settings.kafka_bootstrap!r}") from error
    if not hosts:
        raise SettingsError(f"{PREFIX}KAFKA_BOOTSTRAP names no broker (host:port)")
    return servers


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The keyword arguments of an aiokafka client: address, security, and the credentials as they are now. A client keeps its
    own for good: ask again for each one that is made. Raises SettingsError."""
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap_servers(settings),
        "client_id": f"crewmem-{settings.source}",
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": ssl_context(settings),
    }
    if (credentials := _credentials(settings)) is not None:
        user, password = credentials
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism, "sasl_plain_username": user, "sasl_plain_password": password,
        }  # fmt: skip
    return options


def options_now(settings: KafkaSettings) -> dict[str, Any]:
    """The same where a client takes the place of one that failed: what cannot be used now may be usable soon. Raises
    LogUnavailable."""
    try:
        return client_options(settings)
    except SettingsError as error:
        raise LoginRefused(str(error)) from error


def credentials_mark(settings: KafkaSettings) -> tuple[object, ...]:
    """Another value after the password or a file of certificates was changed."""
    files = (settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)
    times = [path.stat().st_mtime_ns if path is not None and path.is_file() else None for path in files]
    return (settings.secret_now("kafka_sasl_password"), settings.secret_now("kafka_key_password"), *times)


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context of the settings, None without TLS. Raises SettingsError for files that cannot be used."""
    files = {
        f"{PREFIX}{name.upper()}": getattr(settings, name) for name in ("kafka_ca_file", "kafka_cert_file", "kafka_key_file")
    }
    if not settings.kafka_security_protocol.endswith("SSL"):
        if given := [name for name, path in files.items() if path]:
            raise SettingsError(f"{given[0]} is set, but {PREFIX}KAFKA_SECURITY_PROTOCOL is not SSL or SASL_SSL")
        return None
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise SettingsError(f"{name} names {path}, and there is no such file")
    secret = settings.secret_now("kafka_key_password")
    password = secret.get_secret_value() if secret else None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        if settings.kafka_cert_file is not None:
            # A key that needs a password and has none would ask for it on the terminal.
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file, password=lambda: password or "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(f"the certificates for Kafka cannot be used ({', '.join(files)}): {error}") from error
    return context


def security(settings: KafkaSettings) -> BaseSecurity:
    """The same for FastStream's `KafkaBroker(bootstrap_servers(settings), security=...)`. Raises SettingsError."""
    # Imported here: only the consumer has FastStream.
    from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

    context = ssl_context(settings)
    tls = context is not None
    if (credentials := _credentials(settings)) is None:
        return BaseSecurity(ssl_context=context, use_ssl=tls)
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    user, password = credentials
    return kinds[settings.kafka_sasl_mechanism](user, password, ssl_context=context, use_ssl=tls)


def _credentials(settings: KafkaSettings) -> tuple[str, str] | None:
    user, password = settings.kafka_sasl_username, settings.secret_now("kafka_sasl_password")
    if settings.kafka_security_protocol.startswith("SASL"):
        if not user or password is None:
            names = f"{PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD"
            raise SettingsError(f"{names} are needed with {settings.kafka_security_protocol}")
        return user, password.get_secret_value()
    if user or password:
        raise SettingsError(f"a SASL user is set, but {PREFIX}KAFKA_SECURITY_PROTOCOL is not SASL_PLAINTEXT or SASL_SSL")
    return None


@asynccontextmanager
async def answering(what: str, *, seconds: float, but: tuple[type[Exception], ...] = ()) -> AsyncIterator[None]:
    """Bounds the block and maps what aiokafka raises in it. Raises LogUnavailable, EventTooLarge, and `but` as it is.

    `what` ends the sentence "Kafka did not ...".
    """
    try:
        async with timeout(seconds):
            yield
    except LogUnavailable:
        raise
    except but:
        raise
    except MessageSizeTooLargeError as error:
        raise EventTooLarge(f"Kafka did not {what}: a record is over its limit ({error})") from error
    except asyncio.TimeoutError as error:
        raise LogUnavailable(f"Kafka did not {what} within {seconds:g} s") from error
    except _KAFKA_ERRORS as error:
        raise LogUnavailable(f"Kafka did not {what}: {error!r}") from error
