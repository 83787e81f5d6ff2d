"""A topic that would lose memory is found while processes run: on Apache Kafka."""

from __future__ import annotations

import logging

import pytest
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.settings import KafkaSettings
from crewmem_producers.topic_watch import TopicWatch
from crewmem_producers.topics import KEPT_FOR_EVER, ensure_topics, events_topic, registry_topic
from support.kafka import free_port
from support.topics import alter

WEEK = {"retention.ms": "604800000"}
logger = logging.getLogger("crewmem.test")


@pytest.fixture
async def settings(kafka: str, namespace: str) -> KafkaSettings:
    settings = KafkaSettings(kafka_bootstrap=kafka, namespace=namespace, kafka_partitions=1)
    await ensure_topics(settings)
    return settings


@pytest.fixture
def watch(settings: KafkaSettings) -> TopicWatch:
    return TopicWatch(settings, logger=logger)


@pytest.mark.kafka
async def test_topics_as_crewmem_makes_them_are_no_problem(watch: TopicWatch, caplog: pytest.LogCaptureFixture) -> None:
    assert watch.problems is None
    assert await watch.look()
    assert watch.problems == () and not caplog.records


@pytest.mark.kafka
@pytest.mark.parametrize("wrong", [WEEK, {"retention.bytes": "1000000"}, {"cleanup.policy": "compact"}])
async def test_a_change_that_would_lose_events_is_found_by_the_next_look(
    settings: KafkaSettings, watch: TopicWatch, kafka: str, wrong: dict[str, str]
) -> None:
    await watch.look()
    topic = events_topic(settings.namespace)
    await alter(kafka, topic, KEPT_FOR_EVER | wrong)
    await watch.look()
    [(name, value)] = wrong.items()
    assert watch.problems is not None
    [problem] = watch.problems
    assert f"{topic} has {name}={value} and needs {KEPT_FOR_EVER[name]}" in problem
    command = f"kafka-configs.sh --bootstrap-server {kafka} --alter --entity-type topics --entity-name {topic}"
    assert problem.endswith(f"{command} --add-config {name}={KEPT_FOR_EVER[name]}")


@pytest.mark.kafka
async def test_a_registry_that_is_not_compacted_is_a_problem(settings: KafkaSettings, watch: TopicWatch, kafka: str) -> None:
    await alter(kafka, registry_topic(settings.namespace), {"cleanup.policy": "compact,delete"})
    await watch.look()
    assert watch.problems is not None and "needs compact" in watch.problems[0]


@pytest.mark.kafka
async def test_a_problem_is_one_log_line_when_it_begins_and_one_when_it_is_over(
    settings: KafkaSettings, watch: TopicWatch, kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger.name)
    topic = events_topic(settings.namespace)
    await alter(kafka, topic, KEPT_FOR_EVER | WEEK)
    for _ in range(3):
        await watch.look()
    [line] = caplog.records
    assert line.levelno == logging.ERROR and "retention.ms=604800000" in line.getMessage()
    await alter(kafka, topic, KEPT_FOR_EVER)
    for _ in range(2):
        await watch.look()
    assert [one.getMessage() for one in caplog.records[1:]] == ["the topics keep what they must keep again"]


@pytest.mark.kafka
async def test_what_was_found_stays_while_no_broker_answers(
    settings: KafkaSettings, watch: TopicWatch, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alter(kafka, events_topic(settings.namespace), KEPT_FOR_EVER | WEEK)
    await watch.look()
    found = watch.problems

    async def away(settings: KafkaSettings) -> None:
        raise LogUnavailable("no broker answers")

    monkeypatch.setattr("crewmem_producers.topic_watch.needed_problems", away)
    assert not await watch.look()
    assert found and watch.problems == found


async def test_before_a_broker_has_answered_nothing_is_known() -> None:
    watch = TopicWatch(KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}"), logger=logger)
    assert not await watch.look()
    assert watch.problems is None
