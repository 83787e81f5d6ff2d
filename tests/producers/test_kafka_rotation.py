"""A password that is changed while processes run: on Apache Kafka with SASL/SCRAM."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from crewmem_producers.errors import LoginRefused, LogUnavailable, RegistryUnavailable
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.settings import KafkaSettings, load
from crewmem_producers.started import started
from crewmem_producers.topics import ensure_topics, events_topic
from producers.conformance_log import record, values
from support.kafka import Broker
from support.scram import Rotating, rotating

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka_of_alice(new_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rotating:
    return rotating(new_broker, tmp_path, monkeypatch)


async def test_log_and_registry_say_that_the_login_is_refused_and_take_the_new_password_from_its_file(
    kafka_of_alice: Rotating,
) -> None:
    settings = load(KafkaSettings, **kafka_of_alice.settings)
    await ensure_topics(settings)
    log = KafkaLog(settings, topic=events_topic(settings.namespace), timeout_seconds=10)
    registry = KafkaRegistry(settings, timeout_seconds=10)
    async with started(log), started(registry):
        await log.append([record(1)])
        await registry.put("active", {"generation": "g1"})
        kafka_of_alice.rotate("second")
        kafka_of_alice.cut_connections()
        for work in (log.end, lambda: log.append([record(2)])):
            error = await refused(work)
            assert "SaslAuthenticationFailed" in str(error) and "_SASL_*" in str(error)
        with pytest.raises(RegistryUnavailable, match="SaslAuthenticationFailed"):
            await until_refused(registry)
        kafka_of_alice.file.write_text("second\n")
        await log.append([record(3)])
        assert values(await log.read(0, 0)) == [b"body 1", b"body 3"]
        with contextlib.suppress(RegistryUnavailable):  # its producer lost its connection too, and is tried for a while
            await registry.put("active", {"generation": "g2"})
        await registry.put("active", {"generation": "g2"})
        assert registry.get("active") == {"generation": "g2"}


async def test_a_file_that_is_away_or_empty_for_a_moment_is_no_new_password(kafka_of_alice: Rotating) -> None:
    settings = load(KafkaSettings, **kafka_of_alice.settings)
    await ensure_topics(settings)
    for change in (lambda: kafka_of_alice.file.write_text(""), kafka_of_alice.file.unlink):
        change()
        async with started(KafkaLog(settings, topic=events_topic(settings.namespace))) as log:
            assert await log.end() == {0: 0}


async def until_refused(registry: KafkaRegistry) -> None:
    for _ in range(5):
        try:
            await registry.refresh()
        except RegistryUnavailable as error:
            if isinstance(error.__cause__, LoginRefused):
                raise


async def refused(work: Callable[[], object]) -> LoginRefused:
    """What the call raises once the client that lost its connection was given up: that one is tried for a while."""
    for _ in range(5):
        try:
            await work()  # type: ignore[misc]
        except LoginRefused as error:
            return error
        except LogUnavailable:
            continue
    raise AssertionError("the login was not refused")
