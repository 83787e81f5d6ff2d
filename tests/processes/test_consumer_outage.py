"""A part of the surroundings that goes away is waited for: health says so, and nothing is lost when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from processes.harness import Stack, compare, exit_code, stack
from processes.test_consumer_kill import eventful_log
from support.kafka import Broker, free_port
from support.logged import remembered_record
from support.s3 import S3Server, s3_settings

pytestmark = pytest.mark.timeout(600)


async def settle(made: Stack) -> list[str]:
    await made.caught_up()
    for process in made.processes:
        if process.poll() is None:
            process.terminate()
            assert await exit_code(process) == 0, made.output()
    return compare(made.account(), await made.clean())


async def health_says(port: int, word: str, *, made: Stack) -> None:
    """Returns when the consumer is not ready and its health names what it waits for."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http, asyncio.timeout(240):
        while True:
            try:
                answer = await http.get("/health/ready")
                if answer.status_code == 503 and word in answer.text:
                    return
            except httpx.TransportError:
                assert made.processes[-1].poll() is None, made.output()
            await asyncio.sleep(0.2)


@pytest.mark.s3
async def test_a_store_that_is_away_is_waited_for(tmp_path: Path, namespace: str) -> None:
    server, port = S3Server(tmp_path / "s3"), free_port()
    more = s3_settings(server.endpoint, "memory") | {"consumer_host": "127.0.0.1", "consumer_port": port}
    with stack(tmp_path / "stack", namespace=namespace, more=more) as made:
        try:
            server.start()
            await made.prepare()
            await made.publish(eventful_log())
            made.start(serve=True)
            await made.caught_up()
            server.kill()
            await made.publish([remembered_record(number) for number in range(1000, 1030)])
            await health_says(port, "StoreUnavailable", made=made)
            server.start()
            assert await settle(made) == []
        finally:
            server.kill()


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_broker_that_is_killed_and_comes_back_is_waited_for(
    tmp_path: Path, namespace: str, new_broker: Callable[..., Broker]
) -> None:
    broker, port = new_broker(), free_port()
    broker.start()
    more = {"consumer_host": "127.0.0.1", "consumer_port": port}
    with stack(tmp_path / "stack", namespace=namespace, bootstrap=broker.bootstrap, partitions=2, more=more) as made:
        await made.prepare()
        await made.publish(eventful_log())
        made.start(serve=True)
        await made.caught_up()
        broker.kill()
        await health_says(port, "LogUnavailable", made=made)
        broker.start()
        await made.publish([remembered_record(number, session=f"s{number % 5}") for number in range(1000, 1100)])
        assert await settle(made) == []


async def test_sigterm_in_the_middle_of_the_work_ends_it_at_a_border_and_exits_0(tmp_path: Path, namespace: str) -> None:
    with stack(tmp_path / "stack", namespace=namespace) as made:
        await made.prepare()
        await made.publish([remembered_record(number) for number in range(400)])
        busy = made.start()
        reader = made.reader()
        while reader.last_offset(0) < 20:
            assert busy.poll() is None, made.output()
            await asyncio.sleep(0.05)
        busy.terminate()
        assert await exit_code(busy) == 0, made.output()
        assert reader.last_offset(0) < 399, "it was to be stopped in the middle"
        made.start()
        assert await settle(made) == []
