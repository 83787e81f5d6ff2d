"""Where published events go, by the settings: the way there, and the outbox of what waits for it. One file a destination, so
that a relay sends only what is meant for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from crewmem_producers.errors import SettingsError
from crewmem_producers.outbox import Outbox
from crewmem_producers.settings import CrewSettings, load
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


def move_address(
    settings: CrewSettings, *, old: str, new: str, checkpoint: Callable[[str], None] = lambda name: None
) -> tuple[int, Path]:
    """Move what waits for the address `old` to the outbox of the address `new`, and return how many events, and that outbox.

    An address is an http(s) URL of a service, or the `host:port,...` of Kafka. Raises SettingsError where there is no outbox of
    `old`, OutboxFull, OutboxBroken.
    """
    target = _path_of(settings, new)
    sources = [path for path in _paths_of(settings, old) if path != target and path.is_file()]
    if not sources:
        raise SettingsError(
            f"nothing was ever published from here to {old} with the API key, namespace and tenant of these settings: "
            "`crewmem outbox status` shows every outbox"
        )
    max_bytes = settings.outbox_max_mb * 1_000_000
    moved = 0
    with closing(Outbox(target, max_bytes=max_bytes)) as to:
        for path in sources:
            with closing(Outbox(path, max_bytes=max_bytes)) as source:
                moved += source.move_to(to, checkpoint=checkpoint)
    return moved, target


def _path_of(settings: CrewSettings, address: str) -> Path:
    """The outbox of these settings at another address; their own where the address is that of the service they reach now."""
    at = _at(settings, address)
    reached = not settings.kafka_bootstrap and at.kafka_bootstrap is None and at.base_url == settings.service_url()
    return outbox_path(settings if reached else at)


def _paths_of(settings: CrewSettings, address: str) -> list[Path]:
    """Every outbox that a crew with this address has, or had before `/v1` at its end was taken off."""
    raw = settings.model_copy(update={"base_url": address.rstrip("/"), "kafka_bootstrap": None})
    return list(dict.fromkeys(outbox_path(one) for one in (_at(settings, address), raw)))


def _at(settings: CrewSettings, address: str) -> CrewSettings:
    if "://" not in address:
        return settings.model_copy(update={"kafka_bootstrap": address})
    url = load(CrewSettings, base_url=address).base_url
    return settings.model_copy(update={"base_url": url, "kafka_bootstrap": None})
