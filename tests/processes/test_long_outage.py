"""Outages that last longer than a member of a group may be silent: it stays a member, says what it waits for, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from processes.harness import PATIENCE_SECONDS, Stack, compare, exit_code, stack
from support.kafka import Broker, free_port
from support.logged import remembered_record

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1200)]

MAX_POLL_MS = 20_000
SHORT_SECONDS = 45.0
"""Longer than a member may be silent, twice over."""
TEN_MINUTES = 600.0
RECORDS = 400
"""More than the queues hold: the partitions are paused."""


@pytest.fixture
def group(tmp_path: Path, namespace: str, kafka: str) -> Iterator[Stack]:
    more = {"consumer_host": "127.0.0.1", "consumer_port": free_port()}
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=kafka, partitions=2, more=more) as made:
        yield made


async def members(made: Stack) -> list[str]:
    """The ids of the group's members: one that was put out and came back has another."""
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([f"{made.namespace}.g1"])
    finally:
        await admin.close()
    return [member["member_id"] for described in answer.to_object()["groups"] for member in described["members"]]


async def page(made: Stack, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{made.more['consumer_port']}", trust_env=False) as http:
        return await http.get(path, timeout=60)


async def said(made: Stack, path: str, word: str) -> None:
    """Returns when the consumer's page says so; the outage lasts until the test ends it, so that it is seen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                if word in (await page(made, path)).text:
                    return
            except httpx.TransportError:
                assert made.processes[-1].poll() is None, made.output()
            await asyncio.sleep(0.2)


def some_records(start: int) -> list[object]:
    return [remembered_record(number, session=f"s{number % 7}") for number in range(start, start + RECORDS)]


async def begun(made: Stack, **spec: object) -> list[str]:
    """One dynamic member that has consumed something; its id, as a list."""
    await made.prepare()
    await made.publish([remembered_record(number, session=f"s{number % 7}") for number in range(20)])
    made.start(serve=True, away_while=str(made.home / "away"), settings={"group_instance_id": None}, **spec)
    await made.caught_up()
    return await members(made)


async def settled(made: Stack) -> list[str]:
    await made.caught_up()
    made.processes[-1].terminate()
    assert await exit_code(made.processes[-1]) == 0, made.output()
    return compare(made.account(), await made.clean())


@pytest.mark.parametrize("seconds", [SHORT_SECONDS, pytest.param(TEN_MINUTES, marks=pytest.mark.slow)])
async def test_a_store_that_is_away_for_long_costs_no_membership_and_is_said(group: Stack, seconds: float) -> None:
    # Ten minutes are longer than Kafka's own limit of five, too.
    first = await begun(group, **({"max_poll_ms": MAX_POLL_MS} if seconds < TEN_MINUTES else {}))
    away = group.home / "away"
    away.touch()
    await group.publish(some_records(1000))
    await said(group, "/health/ready", "StoreUnavailable: the store is away")
    await said(group, "/metrics", 'crewmem_waiting{part="store"} 2.0')
    await asyncio.sleep(seconds)
    assert (await page(group, "/health/ready")).status_code == 503
    assert (await page(group, "/health/live")).status_code == 200
    assert await members(group) == first
    away.unlink()
    await group.caught_up()
    await said(group, "/metrics", 'crewmem_waiting{part="store"} 0.0')
    assert await members(group) == first, "nobody was put out of the group"
    assert await settled(group) == []


async def test_control_a_handler_that_waits_for_the_store_loses_its_membership(group: Stack) -> None:
    first = await begun(group, max_poll_ms=MAX_POLL_MS, without="pause")
    (group.home / "away").touch()
    await group.publish(some_records(1000))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await members(group) == first:
            await asyncio.sleep(0.5)


@pytest.mark.slow
async def test_a_broker_that_is_away_for_ten_minutes_is_waited_for(
    tmp_path: Path, namespace: str, new_broker: Callable[..., Broker]
) -> None:
    broker = new_broker()
    broker.start()
    more = {"consumer_host": "127.0.0.1", "consumer_port": free_port()}
    with stack(tmp_path / "own", namespace=namespace, bootstrap=broker.bootstrap, partitions=2, more=more) as made:
        await begun(made)
        broker.kill()
        await said(made, "/health/ready", "LogUnavailable")
        await said(made, "/health/ready", "RegistryUnavailable")
        await said(made, "/metrics", 'crewmem_waiting{part="registry"} 1.0')
        await asyncio.sleep(TEN_MINUTES)
        assert made.processes[-1].poll() is None, made.output()
        broker.start()
        await made.publish(some_records(1000))
        assert await settled(made) == []
