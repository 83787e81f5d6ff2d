"""Which log and registry the settings name: Apache Kafka with `kafka_bootstrap`, else SQLite in the home folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.data_keys import DataKeyMaker
from crewmem_producers.errors import SettingsError
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.master_file import MasterFile
from crewmem_producers.master_key import MasterKeys, MasterSource, PublicKey
from crewmem_producers.registry import Registry, Value
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.sealing import Sealer
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.started import started
from crewmem_producers.topics import dead_letter_topic, events_topic

# The Kafka implementations are imported where they are asked for: a machine without a broker needs no aiokafka.

FILE_NAME = "log.sqlite3"


def sqlite_path(settings: KafkaSettings) -> Path:
    """The file of one machine's log and registry."""
    return settings.home / FILE_NAME


def open_log(settings: KafkaSettings, *, wait: BrokerWait = NO_WAIT) -> EventLog:
    """The events' log; the caller awaits `start()`. Raises MissingExtra without aiokafka, SettingsError."""
    return _open(settings, events_topic(settings.namespace), wait)


def open_dead_letter_log(settings: KafkaSettings, *, wait: BrokerWait = NO_WAIT) -> EventLog:
    """The dead letters' log; the caller awaits `start()`. Raises MissingExtra without aiokafka, SettingsError."""
    return _open(settings, dead_letter_topic(settings.namespace), wait)


def open_registry(settings: KafkaSettings, *, wait: BrokerWait = NO_WAIT) -> Registry:
    """The registry; the caller awaits `start()`. Raises MissingExtra without aiokafka, SettingsError."""
    if settings.kafka_bootstrap:
        from crewmem_producers.registry_kafka import KafkaRegistry

        return KafkaRegistry(settings, wait=wait)
    return SqliteRegistry(sqlite_path(settings), namespace=settings.namespace)


async def write_unread(settings: KafkaSettings, key: str, value: Value) -> None:
    """Puts one record into the registry. On Kafka nothing is read for it, however large the registry's topic is. For keys
    whose values are never final (see `Registry.put`). Raises RegistryUnavailable, LogRefused, MissingExtra."""
    if settings.kafka_bootstrap:
        from crewmem_producers.registry_kafka import append

        await append(settings, key, value)
        return
    async with started(open_registry(settings)) as registry:
        await registry.put(key, value)


def open_keyring(settings: KafkaSettings, registry: Registry) -> Keyring:
    """What opens sealed records. `registry` is started already, and the caller closes it. Raises SettingsError."""
    return Keyring(registry=registry, master=master_keys(settings))


def open_sealer(settings: KafkaSettings, registry: Registry) -> Sealer | None:
    """What seals records; None where no master key is set, and events go to the log plain. `registry` is started already,
    and the caller closes it. Raises SettingsError, MissingExtra."""
    public = public_half(settings)
    if public is None:
        return None
    public()  # what cannot be used is said at once
    return Sealer(keys=DataKeyMaker(registry=registry, public=public, maker=f"{settings.source}/{os.getpid()}"))


def seals(settings: KafkaSettings) -> bool:
    """Whether what is published with these settings is sealed."""
    return settings.master_key is not None or settings.master_public_key is not None or settings.master_key_file is not None


def master_keys(settings: KafkaSettings) -> MasterSource:
    """The private keys that the settings name: a file is read again when it changes. Raises SettingsError, MissingExtra."""
    if (path := settings.master_key_file) is not None:
        return MasterFile(path)
    if settings.master_key is None:
        return lambda: None
    keys = MasterKeys.parse(settings.master_key.get_secret_value())
    return lambda: keys


def public_half(settings: KafkaSettings) -> Callable[[], PublicKey] | None:
    """What gives the public key to seal for: CREWMEM_MASTER_PUBLIC_KEY, else the public half of the current master key. None
    without both. Raises SettingsError where the two do not fit, MissingExtra."""
    source = master_keys(settings)
    masters = source()
    if settings.master_public_key is None:
        return None if masters is None else lambda: _held(source).current
    public = PublicKey.parse(settings.master_public_key)
    if masters is not None and public.fingerprint not in masters.fingerprints:
        raise SettingsError(
            "CREWMEM_MASTER_PUBLIC_KEY is not the public half of any key in CREWMEM_MASTER_KEY: set it to "
            f"{masters.current.text}, or leave it out here"
        )
    return lambda: public


def _held(source: MasterSource) -> MasterKeys:
    masters = source()
    assert masters is not None, "a source that held keys goes on holding some"
    return masters


def _open(settings: KafkaSettings, topic: str, wait: BrokerWait) -> EventLog:
    if settings.kafka_bootstrap:
        from crewmem_producers.log_kafka import KafkaLog

        return KafkaLog(settings, topic=topic, wait=wait)
    return SqliteLog(sqlite_path(settings), topic=topic)
