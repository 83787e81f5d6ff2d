"""The three topics of a namespace: their names, what crewmem needs of them, and how they are made or checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crewmem_producers.broker_wait import NO_WAIT, BrokerWait
from crewmem_producers.errors import LogRefused, LogUnavailable
from crewmem_producers.limits import RECORD_BYTES
from crewmem_producers.setting_sources import PREFIX
from crewmem_producers.settings import KafkaSettings

if TYPE_CHECKING:
    from crewmem_producers.kafka_admin import KafkaAdmin

KEPT_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
LARGEST = {"max.message.bytes": str(RECORD_BYTES)}
CLEANED_SOON = {
    "segment.ms": "1000", "max.compaction.lag.ms": "1000", "delete.retention.ms": "100", "file.delete.delay.ms": "1000",
}  # fmt: skip
"""With these an erased data key's bytes are gone within seconds of the next record."""


def events_topic(namespace: str) -> str:
    """Where events are: the source of truth."""
    return f"{namespace}.events.v1"


def dead_letter_topic(namespace: str) -> str:
    """Where records go that can never be processed."""
    return f"{namespace}.events.v1.dlq"


def registry_topic(namespace: str) -> str:
    """Where the registry is, compacted."""
    return f"{namespace}.registry.v1"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as crewmem makes it: another `needed` value is refused, another `wished` one is a warning."""

    name: str
    partitions: int
    needed: Mapping[str, str]
    wished: Mapping[str, str] = field(default_factory=dict)
    consequence: str = ""


def topics(settings: KafkaSettings) -> list[Topic]:
    """The three topics; the events' topic last, since what waits for it needs the others too."""
    too_large = "events that are larger than that are refused"
    return [
        Topic(
            registry_topic(settings.namespace), 1, {"cleanup.policy": "compact"}, CLEANED_SOON | LARGEST,
            "an erased data key's bytes stay on the brokers for longer",
        ),
        Topic(dead_letter_topic(settings.namespace), settings.kafka_partitions, KEPT_FOR_EVER, LARGEST, too_large),
        Topic(events_topic(settings.namespace), settings.kafka_partitions, KEPT_FOR_EVER, LARGEST, too_large),
    ]  # fmt: skip


async def ensure_topics(settings: KafkaSettings, *, wait: BrokerWait = NO_WAIT) -> list[str]:
    """Makes the topics that are not there and checks the others; gives one sentence for each setting that is not as wished.

    Raises LogRefused for what crewmem cannot work with, LogUnavailable, SettingsError, MissingExtra.
    """
    return await wait.until_answered(_each_topic, settings, make=True)


async def check_topics(settings: KafkaSettings) -> list[str]:
    """Like `ensure_topics`, but makes nothing: a topic that is not there is LogRefused."""
    return await _each_topic(settings, make=False)


async def needed_problems(settings: KafkaSettings) -> tuple[list[str], list[str]]:
    """A sentence for each needed setting of the three topics that is otherwise, with the command that changes it; and the
    topics whose settings this user may not see.

    Raises LogUnavailable, LogRefused, SettingsError, MissingExtra.
    """
    from crewmem_producers.kafka_admin import kafka_admin

    problems: list[str] = []
    unknown: list[str] = []
    async with kafka_admin(settings) as admin:
        for topic in topics(settings):
            found = await admin.settings_if_allowed(topic.name)
            if found is None:
                unknown.append(topic.name)
            else:
                problems += _needed_problems(topic, found, settings)
    return problems, unknown


async def _each_topic(settings: KafkaSettings, *, make: bool) -> list[str]:
    # Imported here: the names above are also those of the SQLite log, which needs no aiokafka.
    from crewmem_producers.kafka_admin import kafka_admin

    warnings: list[str] = []
    async with kafka_admin(settings) as admin:
        for topic in topics(settings):
            partitions = await admin.partitions_of(topic.name)
            if partitions is None and make:
                partitions = await _make(admin, topic, replication=settings.kafka_replication)
            if partitions is None:
                raise LogRefused(f"Kafka has no topic {topic.name}: run `crewmem topics create`")
            if problem := _partitions_problem(topic, partitions):
                raise LogRefused(problem)
            warnings += _check(topic, await admin.settings_of(topic.name), settings)
    return warnings


async def _make(admin: KafkaAdmin, topic: Topic, *, replication: int) -> int:
    await admin.create(
        topic.name, partitions=topic.partitions, replication=replication, settings={**topic.needed, **topic.wished}
    )
    for _ in range(100):  # it takes a moment until every broker knows of it
        if partitions := await admin.partitions_of(topic.name):
            return partitions
        await asyncio.sleep(0.1)
    raise LogUnavailable(f"Kafka made {topic.name} and does not list it yet: run the command again")


def _partitions_problem(topic: Topic, partitions: int) -> str | None:
    if partitions == topic.partitions:
        return None
    if topic.partitions == 1:
        return f"{topic.name} has {partitions} partitions and must have 1: delete it and run `crewmem topics create`"
    return (
        f"{topic.name} has {partitions} partitions and {PREFIX}KAFKA_PARTITIONS is {topic.partitions}: set it to {partitions}"
        " to keep the topic, or delete the topic while it is empty; never add partitions, sessions would move"
    )


def _needed_problems(topic: Topic, found: Mapping[str, str], settings: KafkaSettings) -> Iterator[str]:
    for name, value in topic.needed.items():
        if found.get(name) != value:
            yield (
                f"{topic.name} has {name}={found.get(name)} and needs {value}, or memory is lost:  kafka-configs.sh"
                f" --bootstrap-server {settings.kafka_bootstrap} --alter --entity-type topics --entity-name {topic.name}"
                f" --add-config {name}={value}"
            )


def _check(topic: Topic, found: Mapping[str, str], settings: KafkaSettings) -> Iterator[str]:
    """A sentence for each wished setting that is otherwise. Raises LogRefused for a needed one."""
    for problem in _needed_problems(topic, found, settings):
        raise LogRefused(problem)
    for name, value in topic.wished.items():
        if not _as_wished(name, found.get(name), value):
            yield f"{topic.name} has {name}={found.get(name)}; crewmem makes it {value}: {topic.consequence}"


def _as_wished(name: str, found: str | None, wished: str) -> bool:
    if found is None or not found.lstrip("-").isdecimal():
        return False
    # Sizes may be larger, delays shorter.
    return int(found) >= int(wished) if name in LARGEST else int(found) <= int(wished)
