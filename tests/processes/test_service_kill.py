"""kill -9 of the recall service: what it acknowledged is on the log, and what it did not is sent again."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
from collections import Counter
from pathlib import Path

import httpx
import pytest
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_log
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, ServiceSettings, load
from support.kafka import free_port
from support.programs import PATIENCE_SECONDS, start, until

KEY = "am_live_" + "0123456789abcdef" * 2
SERVE = """
    import asyncio
    from crewmem_producers.settings import ServiceSettings, load
    from crewmem_store.embedder_hashing import HashingEmbedder
    from crewmem_store.service.serve import serve
    asyncio.run(serve(load(ServiceSettings), stop=asyncio.Event(), embedder=HashingEmbedder()))
"""
KILLS = 3


class Service:
    """The service as a process on one port, which may be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = start(SERVE, home=str(self.home), port=str(self.port), admin_key=KEY)
        until(self.answers, "the service answers")

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=PATIENCE_SECONDS)


async def logged(home: Path) -> list[Event]:
    log = open_log(load(ServiceSettings, home=home))
    await log.start()
    try:
        events: list[Event] = []
        while records := await log.read(0, len(events)):
            events += [decode(record) for record in records]
        return events
    finally:
        await log.close()


@pytest.fixture
def dice() -> random.Random:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    return random.Random(seed)


async def test_what_was_acknowledged_is_on_the_log_after_each_kill(tmp_path: Path, dice: random.Random) -> None:
    service, acknowledged = Service(tmp_path), list[str]()
    headers = {"Authorization": f"Bearer {KEY}"}

    async def remember_on_and_on(client: httpx.AsyncClient, name: str) -> None:
        for number in itertools.count():
            body = {"content": f"note {name} {number}", "wait_seconds": 0}
            response = await client.post(f"{service.url}/v1/memory/remember", json=body, headers=headers)
            assert response.status_code == 202
            acknowledged.append(body["content"])

    try:
        for kill in range(KILLS):
            await asyncio.to_thread(service.start)
            async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
                calls = [asyncio.create_task(remember_on_and_on(client, f"{kill}-{caller}")) for caller in range(6)]
                enough = len(acknowledged) + dice.randrange(5, 60)
                while len(acknowledged) < enough:
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(service.kill)
                ends = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(end, httpx.TransportError) for end in ends), ends
    finally:
        service.kill()
    found = Counter(event.body.content for event in await logged(tmp_path) if isinstance(event.body, MemoryRemembered))
    assert set(acknowledged) <= set(found) and max(found.values()) == 1


async def test_a_relay_brings_every_event_through_kills_once_and_in_order(tmp_path: Path, dice: random.Random) -> None:
    service = Service(tmp_path / "service")
    settings = load(CrewSettings, home=tmp_path / "crew", base_url=service.url, api_key=KEY)
    publisher = Publisher(settings)
    try:
        for kill in range(KILLS):
            for number in range(50):
                body = MemoryRemembered(content=str(100 * kill + number))
                publisher.publish(Event(body=body, scope=Scope.of("default", f"s{number % 3}")))
            await asyncio.to_thread(service.start)
            await asyncio.sleep(dice.random() / 2)
            await asyncio.to_thread(service.kill)
        await asyncio.to_thread(service.start)
        assert await publisher.aflush(PATIENCE_SECONDS)
    finally:
        publisher.close()
        service.kill()
    first: dict[str, Event] = {}
    for event in await logged(service.home):
        first.setdefault(event.id, event)
    assert len(first) == 50 * KILLS
    for session in ("s0", "s1", "s2"):
        numbers = [
            int(event.body.content) for event in first.values()
            if event.scope and event.scope.session == session and isinstance(event.body, MemoryRemembered)
        ]  # fmt: skip
        assert numbers == sorted(numbers)
