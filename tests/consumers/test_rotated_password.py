"""Consumer and service go on over a change of Kafka's password, without a restart: on Apache Kafka with SASL/SCRAM."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from crewmem_producers.errors import LogUnavailable
from crewmem_producers.settings import KafkaSettings, load
from crewmem_producers.topics import ensure_topics
from support.awaiting import until
from support.kafka import Broker
from support.live import live_service
from support.logged import remembered_record
from support.machine import Machine, machine_in
from support.scram import Rotating, rotating

pytestmark = pytest.mark.kafka

NEW = "the credentials for Kafka were changed: connecting with the new ones"
NOT_YET = "it does not take the new ones yet"


@pytest.fixture
async def kafka_of_alice(
    new_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rotating]:
    made = rotating(new_broker, tmp_path, monkeypatch)
    await ensure_topics(load(KafkaSettings, **made.settings))
    yield made


async def put(machine: Machine, number: int) -> None:
    """As a publisher does: what is not acknowledged is sent again. A client that lost its connection is tried for a while."""
    for _ in range(3):
        try:
            await machine.log.append([remembered_record(number)])
        except LogUnavailable:
            continue
        return
    raise AssertionError("the log takes nothing")


async def test_a_consumer_whose_login_is_refused_says_so_and_goes_on_with_the_new_password(
    kafka_of_alice: Rotating, tmp_path: Path
) -> None:
    async with machine_in(tmp_path / "home", Machine, **kafka_of_alice.settings) as machine, machine.consuming():
        await put(machine, 0)
        await machine.processed(0)
        kafka_of_alice.rotate("second")
        await asyncio.to_thread(kafka_of_alice.cut_connections)
        await until(lambda: "SaslAuthenticationFailed" in str(machine.health.report()), what="the consumer says why it waits")
        assert not machine.health.ready
        kafka_of_alice.file.write_text("second\n")
        await until(lambda: not machine.health.waits, what="the log answers again")
        await put(machine, 1)
        await machine.processed(1)
        await until(lambda: machine.health.ready, what="the consumer is ready again")


async def test_a_consumer_keeps_its_connections_until_kafka_takes_the_new_password(
    kafka_of_alice: Rotating, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmem_consumers.credentials.ASK_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "crewmem.consumer")

    def said(line: str) -> int:
        return sum(line in record.getMessage() for record in caplog.records)

    async with machine_in(tmp_path / "home", Machine, **kafka_of_alice.settings) as machine, machine.consuming():
        await put(machine, 0)
        await machine.processed(0)
        kafka_of_alice.file.write_text("second\n")
        await until(lambda: said(NOT_YET), what="the consumer says that Kafka does not take it yet")
        await put(machine, 1)
        await machine.processed(1)
        assert not said(NEW)
        await asyncio.to_thread(kafka_of_alice.rotate, "second")
        await until(lambda: said(NEW), what="the consumer connects with the new password")
        await put(machine, 2)
        await machine.processed(2)
        await asyncio.to_thread(kafka_of_alice.cut_connections)
        await until(lambda: not machine.health.waits, what="the log answers again")
        await put(machine, 3)
        await machine.processed(3)
        assert (said(NEW), said(NOT_YET)) == (1, 1)


async def test_a_service_whose_login_is_refused_says_so_and_answers_again_with_the_new_password(
    kafka_of_alice: Rotating, tmp_path: Path
) -> None:
    with live_service(tmp_path / "home", **kafka_of_alice.settings) as live:
        async with httpx.AsyncClient(base_url=live.base_url, timeout=60) as client:

            async def ready(words: str, *, status: int) -> None:
                for _ in range(300):
                    answer = await client.get("/health/ready")
                    if answer.status_code == status and words in answer.text:
                        return
                    await asyncio.sleep(0.2)
                raise AssertionError(f"{status} and {words!r} never came: {answer.status_code} {answer.text}")

            await ready('"log":"ok"', status=200)
            await asyncio.to_thread(kafka_of_alice.rotate, "second")
            await asyncio.to_thread(kafka_of_alice.cut_connections)
            await ready("SaslAuthenticationFailed", status=503)
            kafka_of_alice.file.write_text("second\n")
            await ready('"log":"ok"', status=200)
