"""Two recall services are called without a pause while a replay moves the memory to other rules and another embedder."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from crewmem_consumers.consumer import run
from crewmem_consumers.health import Health
from crewmem_consumers.replay import Replayed, replay
from crewmem_producers.codec import encode
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.log import EventLog
from crewmem_producers.settings import ConsumerSettings, ServiceSettings, load
from crewmem_store import generations, switch
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import EmbedderUnavailable
from crewmem_store.memory import MemoryStore
from crewmem_store.service import switching
from crewmem_store.service.serve import serve
from support.awaiting import until
from support.logged import content_of, rules_record
from support.pipeline import kickoff

KEY = "am_live_" + "7" * 32
OUTPUTS = 12
ALL = {"threshold": 0, "top_k": 100, "session": "s"}
QUESTION = "fact subject value place"


def rules(kind: str) -> str:
    """Every output is kept, as a memory of that kind; what is remembered keeps its own."""
    return f"version: 1\nrules:\n  - {{name: all, when: 'true', action: keep, with: {{kind: {kind}}}, why: a test}}\n"


class Sized(HashingEmbedder):
    """Named by its dimensions, so that it can be opened by name."""

    def __init__(self, name: str) -> None:
        super().__init__(dimensions=int(name.removeprefix("hashing")))
        self.name = name


@dataclass
class Fleet:
    """A consumer and two services on one machine, each service with a registry of its own."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    missing: set[str] = field(default_factory=set)
    """Embedders that the services cannot load."""
    services: list[httpx.AsyncClient] = field(default_factory=list)
    log: EventLog = field(init=False)

    def __post_init__(self) -> None:
        self.settings = load(ConsumerSettings, home=self.folder, embedder="hashing384", batch_wait_ms=20)
        self.log = open_log(self.settings)
        self.registry = open_registry(self.settings)
        self.store.open(namespace="crewmem")

    def opens_for_a_service(self, name: str) -> Sized:
        if name in self.missing:
            raise EmbedderUnavailable(f"no {name} on this host")
        return Sized(name)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Fleet]:
        stop = asyncio.Event()
        async with AsyncExitStack() as opened:
            for part in (self.log, self.registry):
                await part.start()
                opened.push_async_callback(part.close)
            await self.log.append([rules_record(rules("alpha")), *(encode(one) for one in self.outputs())])
            await self.log.append([rules_record(rules("beta"), number=1)])
            tasks = [asyncio.create_task(self.consume(stop)), await self.serve(stop, opened), await self.serve(stop, opened)]
            try:
                yield self
            finally:
                stop.set()
                await asyncio.wait_for(asyncio.gather(*tasks), 60)

    def outputs(self) -> list[Any]:
        return [kickoff(content_of(number), number=number, session="s") for number in range(OUTPUTS)]

    async def consume(self, stop: asyncio.Event) -> None:
        await run(
            self.settings, stop=stop, log=self.log, registry=self.registry, store=self.store, open_embedder=Sized,
            health=Health(),
        )  # fmt: skip

    async def serve(self, stop: asyncio.Event, opened: AsyncExitStack) -> asyncio.Task[None]:
        url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        settings = load(ServiceSettings, home=self.folder, port=0, admin_key=KEY, embedder="hashing384")
        serving = serve(settings, stop=stop, ready=url.set_result, store=self.store, open_embedder=self.opens_for_a_service)
        task = asyncio.create_task(serving)
        headers = {"Authorization": f"Bearer {KEY}"}
        client = httpx.AsyncClient(base_url=await asyncio.wait_for(url, 60), headers=headers, timeout=60)
        self.services.append(await opened.enter_async_context(client))
        return task

    async def replay(self, **how: Any) -> Replayed:
        settings = {"log": self.log, "registry": self.registry, "store": self.store, "open_embedder": Sized}
        return await replay(self.settings, **settings, **how)

    async def answers(self) -> None:
        """Returns when the first generation holds the outputs, and every service knows it."""
        await until(lambda: self.store.reader("g1").last_offset(0) >= OUTPUTS + 1, what="g1 has everything")
        for service in self.services:
            while (await service.get("/health/ready")).status_code != 200:
                await asyncio.sleep(0.05)


class Caller:
    """Remembers, lists, recalls and forgets by turns, and notes which generation each answer was of."""

    def __init__(self, name: str, own: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
        self.name = name
        self.own, self.other = own, other
        self.seen: Counter[str] = Counter()
        self.rounds = 0

    async def go_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.once()
            self.rounds += 1

    async def once(self) -> None:
        content = f"Caller{self.name} round{self.rounds} notes item{self.name}{self.rounds}x as it is."
        made = await self.own.post("/v1/memory/remember", json={"content": content, "session": "s", "wait_seconds": 30})
        assert made.status_code == 201, made.text
        id = made.json()["id"]
        assert id in self.look(await self.own.get("/v1/memory/list", params={"session": "s", "limit": 100}))
        question = {"q": QUESTION, **ALL, "wait_seconds": 30, "strict": True}
        assert id in self.look(await self.other.post("/v1/memory/recall", json={**question, "after": "latest"}))
        gone = await self.own.delete(f"/v1/memory/forget/{id}", params={"wait_seconds": 30})
        assert (gone.status_code, gone.json()["deleted"]) == (200, True), gone.text
        assert id not in self.look(await self.own.post("/v1/memory/recall", json={"q": QUESTION, **ALL}))
        assert id not in self.look(await self.other.post("/v1/memory/recall", json={**question, "after": "latest"}))

    def look(self, response: httpx.Response) -> set[str]:
        """The ids of an answer, which is of one generation, and whole."""
        assert response.status_code == 200, response.text
        body = response.json()
        assert body.get("fresh", True)
        kinds = Counter(memory["kind"] for memory in body["memories"] if memory["kind"] != "note")
        assert len(kinds) == 1 and kinds.total() == OUTPUTS, f"a mixed answer: {kinds}"
        self.seen.update(kinds.keys())
        return {memory["id"] for memory in body["memories"]}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(tmp_path).running() as running:
        await running.answers()
        yield running


async def test_a_switch_fails_no_call_and_mixes_no_answer(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "SETTLE_SECONDS", 60.0)  # a call may take long where everything does
    one, two = fleet.services
    callers = [Caller("one", one, two), Caller("two", two, one), Caller("three", one, one)]
    stop = asyncio.Event()
    calling = asyncio.gather(*(caller.go_on(stop) for caller in callers))
    try:
        await until(lambda: calling.done() or min(caller.rounds for caller in callers) >= 2, what="all call the old one")
        done = await fleet.replay(move_to="hashing64")
        assert (done.generation, done.replaced) == ("g2", "g1")
        await until(lambda: calling.done() or min(caller.seen["beta"] for caller in callers) >= 6, what="all call the new one")
        await switch.activate("g1", log=fleet.log, registry=fleet.registry, store=fleet.store)
        before = {caller.name: caller.seen["alpha"] for caller in callers}
        await until(
            lambda: calling.done() or all(caller.seen["alpha"] >= before[caller.name] + 6 for caller in callers),
            what="going back is one record, too",
        )
    finally:
        stop.set()
        await calling


async def test_a_service_without_the_model_says_so_before_and_after_the_switch_and_refuses(fleet: Fleet) -> None:
    fleet.missing.add("hashing64")
    one = fleet.services[0]
    await fleet.replay(move_to="hashing64", activate=False)
    checks: dict[str, str] = {}

    async def look() -> None:
        nonlocal checks
        checks = (await one.get("/health/ready")).json()["checks"]

    for _ in range(600):
        await look()
        if "embedder of g2" in checks:
            break
        await asyncio.sleep(0.1)
    assert "no hashing64 on this host" in checks["embedder of g2"]
    assert (await one.get("/health/ready")).status_code == 200, "it still answers from the old one"
    await switch.activate("g2", log=fleet.log, registry=fleet.registry, store=fleet.store)
    refused = await one.get("/v1/memory/recall", params={"q": "a", "session": "s"})
    for _ in range(600):
        if refused.status_code == 503:
            break
        await asyncio.sleep(0.1)
        refused = await one.get("/v1/memory/recall", params={"q": "a", "session": "s"})
    assert refused.status_code == 503
    assert "hashing64" in refused.json()["message"]
    assert (await one.get("/health/ready")).status_code == 503
    assert generations.active(fleet.registry).name == "g2"


async def test_a_restart_after_the_move_comes_up_with_the_embedder_of_the_generation_that_answers(tmp_path: Path) -> None:
    first = Fleet(tmp_path)
    async with first.running():
        await first.answers()
        await first.replay(move_to="hashing64")
    again = Fleet(tmp_path, store=first.store)
    again.missing.add("hashing384")
    async with again.running():
        found = await again.services[0].post("/v1/memory/recall", json={"q": content_of(3), "session": "s"})
        assert found.json()["memories"][0]["content"] == content_of(3)
