"""Why a broker does not let a client in: aiokafka says of every failed connection only that it failed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from crewmem_producers.errors import LoginRefused

REFUSALS = (
    AuthenticationFailedError, AuthenticationMethodNotSupported, IllegalSaslStateError, SaslAuthenticationFailed,
    UnsupportedSaslMechanismError, ClusterAuthorizationFailedError, TopicAuthorizationFailedError,
    ssl.SSLError,
)  # fmt: skip


async def refusal_of(options: dict[str, Any], *, seconds: float) -> Exception | None:
    """Connects once more to each bootstrap broker: the first refusal, or None where there is none. `options` are those of an
    aiokafka client."""
    connection = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    for host, port, _ in collect_hosts(options["bootstrap_servers"]):
        try:
            (await create_conn(host, port, **connection, request_timeout_ms=int(seconds * 1000))).close()
        except REFUSALS as error:
            return error
        except (KafkaError, OSError):
            continue
    return None


def said_of(refusal: Exception) -> str:
    """The sentence that names the settings to check."""
    return f"Kafka refuses this client ({refusal!r}): check CREWMEM_KAFKA_SECURITY_PROTOCOL, _SASL_* and _CA_FILE"


@asynccontextmanager
async def login(options: dict[str, Any], *, seconds: float) -> AsyncIterator[None]:
    """Around the start of a client with these options: raises LoginRefused where Kafka does not let it in."""
    try:
        yield
    except KafkaConnectionError as error:
        if (refusal := await refusal_of(options, seconds=seconds)) is not None:
            raise LoginRefused(said_of(refusal)) from error
        raise
