"""Consumer and service say that a topic would lose memory, and go on: on Apache Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topics import KEPT_FOR_EVER, ensure_topics, events_topic
from support.awaiting import until
from support.live import live_service
from support.logged import remembered_record
from support.machine import Machine, machine_in
from support.topics import alter

pytestmark = pytest.mark.kafka

WEEK = KEPT_FOR_EVER | {"retention.ms": "604800000"}


@pytest.fixture
async def settings(kafka: str, namespace: str) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=1)
    await ensure_topics(settings)
    return settings


async def test_a_consumer_says_so_at_its_start_and_goes_on(settings: KafkaSettings, kafka: str, tmp_path: Path) -> None:
    await alter(kafka, events_topic(settings.namespace), WEEK)
    given = {"kafka_bootstrap": kafka, "namespace": settings.namespace, "kafka_partitions": 1}
    async with machine_in(tmp_path, Machine, **given) as machine, machine.consuming():
        await machine.log.append([remembered_record(1)])
        await machine.processed(0)
        await until(lambda: machine.health.report()["topics"], what="the consumer says what is wrong with the topic")
        [said] = machine.health.report()["topics"]
        assert "retention.ms=604800000 and needs -1" in said and "kafka-configs.sh" in said
        machine.health.measure()
        assert machine.health.metrics.registry.get_sample_value("crewmem_topic_problems") == 1
        await until(lambda: machine.health.ready, what="the consumer is ready all the same")


async def test_a_consumer_finds_a_change_while_it_runs(
    settings: KafkaSettings, kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_producers.topic_watch.LOOK_SECONDS", 0.2)
    given = {"kafka_bootstrap": kafka, "namespace": settings.namespace, "kafka_partitions": 1}
    async with machine_in(tmp_path, Machine, **given) as machine, machine.consuming():
        await until(lambda: machine.health.topics() == (), what="the consumer has looked at the topics")
        await alter(kafka, events_topic(settings.namespace), WEEK)
        await until(lambda: machine.health.report()["topics"], what="the consumer finds the change")
        await alter(kafka, events_topic(settings.namespace), KEPT_FOR_EVER)
        await until(lambda: not machine.health.report()["topics"], what="the consumer finds it mended")


async def test_a_service_says_so_and_goes_on(settings: KafkaSettings, kafka: str, tmp_path: Path) -> None:
    await alter(kafka, events_topic(settings.namespace), WEEK)
    with live_service(tmp_path, kafka_bootstrap=kafka, namespace=settings.namespace, kafka_partitions=1) as live:
        async with httpx.AsyncClient(base_url=live.base_url) as client:
            answers: list[httpx.Response] = []

            async def ask() -> bool:
                answers.append(await client.get("/health/ready"))
                return answers[-1].status_code == 200 and bool(answers[-1].json()["topics"])

            for _ in range(300):
                if await ask():
                    break
                await asyncio.sleep(0.1)
            assert "retention.ms=604800000 and needs -1" in answers[-1].json()["topics"][0]
            assert "crewmem_topic_problems 1.0" in (await client.get("/metrics")).text
