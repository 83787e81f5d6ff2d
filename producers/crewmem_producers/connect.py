"""Which log and registry the settings name: Apache Kafka with `kafka_bootstrap`, else SQLite in the home folder."""

from __future__ import annotations

from pathlib import Path

from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.registry import Registry
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import dead_letter_topic, events_topic

# The Kafka implementations are imported where they are asked for: a machine without a broker needs no aiokafka.

FILE_NAME = "log.sqlite3"


def sqlite_path(settings: KafkaSettings) -> Path:
    """The file of one machine's log and registry."""
    return settings.home / FILE_NAME


def open_log(settings: KafkaSettings) -> EventLog:
    """The events' log; the caller awaits `start()`. Raises MissingExtra without aiokafka, SettingsError."""
    return _open(settings, events_topic(settings.namespace))


def open_dead_letter_log(settings: KafkaSettings) -> EventLog:
    """The dead letters' log; the caller awaits `start()`. Raises MissingExtra without aiokafka, SettingsError."""
    return _open(settings, dead_letter_topic(settings.namespace))


def open_registry(settings: KafkaSettings) -> Registry:
    """The registry; the caller awaits `start()`. Raises MissingExtra without aiokafka, SettingsError."""
    if settings.kafka_bootstrap:
        from crewmem_producers.registry_kafka import KafkaRegistry

        return KafkaRegistry(settings)
    return SqliteRegistry(sqlite_path(settings), namespace=settings.namespace)


def open_keyring(settings: KafkaSettings, registry: Registry) -> Keyring:
    """What opens sealed records, over a registry that is started and stays the caller's. Raises SettingsError."""
    return Keyring(registry=registry)


def _open(settings: KafkaSettings, topic: str) -> EventLog:
    if settings.kafka_bootstrap:
        from crewmem_producers.log_kafka import KafkaLog

        return KafkaLog(settings, topic=topic)
    return SqliteLog(sqlite_path(settings), topic=topic)
