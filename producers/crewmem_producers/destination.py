"""Where published events go, by the settings: the way there, and the outbox of what waits for it. One file a destination, so
that a relay sends only what is meant for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport import Transport

SUFFIX = ".sqlite3"


def open_transport(settings: CrewSettings) -> Transport:
    """The transport that the settings name, not yet connected: Kafka when `kafka_bootstrap` is set, else HTTP."""
    if settings.kafka_bootstrap:
        from crewmem_producers.transport_kafka import KafkaTransport  # aiokafka only where it is used

        return KafkaTransport.of(settings)
    from crewmem_producers.transport_http import HttpTransport

    return HttpTransport(base_url=settings.service_url, api_key=settings.resolved_api_key)


def check(settings: CrewSettings) -> None:
    """Sees at once what would stop every try to send: a part that is not installed, a setting that cannot be used. Connects
    nothing. Raises MissingExtra, SettingsError."""
    if settings.kafka_bootstrap:
        from crewmem_producers.connect import public_half
        from crewmem_producers.kafka import client_options

        client_options(settings)
        if (public := public_half(settings)) is not None:
            public()


def outbox_path(settings: CrewSettings) -> Path:
    """The outbox file of these settings: 16 hex digits of SHA-256(transport, address, namespace, tenant or API key).

    The key and the address that `crewmem up` wrote are not part of the name: what was published before there was one, or when
    it had another port, belongs to the same destination.
    """
    if settings.kafka_bootstrap:
        parts = ("kafka", settings.kafka_bootstrap, settings.namespace, settings.tenant)
    else:
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        parts = ("http", settings.base_url.rstrip("/"), settings.namespace, key)
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return settings.outbox_folder.absolute() / f"{name}{SUFFIX}"  # the same file after a change of directory


def outbox_files(folder: Path) -> list[Path]:
    """Every outbox in the folder, of whatever destination."""
    return sorted(folder.glob(f"*{SUFFIX}"))
