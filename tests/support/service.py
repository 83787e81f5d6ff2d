"""A whole crewmem in a test: SQLite log and registry, ingestors, the store in memory, the service, and a clock of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from crewmem_consumers.ingestor import Ingestor
from crewmem_producers.codec import encode
from crewmem_producers.events import Event
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import EventLog, Record
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.registry import Registry
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.settings import ServiceSettings, load
from crewmem_store import generations, keys
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.generations import Generation
from crewmem_store.memory import MemoryStore
from crewmem_store.service.app import create_app
from fastapi import FastAPI
from support.keyrings import plain_keyring

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class NoLetters:
    """Nothing that these tests write is to be a dead letter."""

    def send(self, letters: Sequence[Record]) -> None:
        raise AssertionError([letter.headers for letter in letters])


@dataclass
class Clock:
    """`clock()` is `now`, which only the test moves."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class Stack:
    """`consume()` brings the view to the log's end; inside `consuming()` that happens by itself."""

    settings: ServiceSettings
    log: EventLog
    registry: Registry
    store: MemoryStore
    embedder: HashingEmbedder
    clock: Clock
    app: FastAPI
    client: httpx.AsyncClient
    consumers: dict[int, Ingestor] = field(default_factory=dict)

    async def key(self, *, tenant: str = "acme", sessions: Iterable[str] = ("*",), rights: Iterable[str] = keys.ALL_RIGHTS,
                  name: str = "a key", expires_at: datetime | None = None) -> str:  # fmt: skip
        return await keys.create(
            self.registry, tenant=tenant, name=name, sessions=sessions, rights=rights, expires_at=expires_at, clock=self.clock
        )

    async def call(self, method: str, path: str, *, key: str | None, **request: Any) -> httpx.Response:
        headers = dict(request.pop("headers", {})) | ({"Authorization": f"Bearer {key}"} if key else {})
        return await self.client.request(method, path, headers=headers, **request)

    async def remember(self, content: str, *, key: str, memory_key: str | None = None, **fields: Any) -> dict[str, Any]:
        """Remembers and consumes; the answer's body."""
        async with self.consuming():
            response = await self.call(
                "POST",
                "/v1/memory/remember",
                key=key,
                json={"content": content, "wait_seconds": 20, "key": memory_key, **fields},
            )
        assert response.status_code == 201, response.text
        body: dict[str, Any] = response.json()
        return body

    async def recall(self, q: str, *, key: str, **fields: Any) -> list[dict[str, Any]]:
        response = await self.call("POST", "/v1/memory/recall", key=key, json={"q": q, "top_k": 100, **fields})
        assert response.status_code == 200, response.text
        memories: list[dict[str, Any]] = response.json()["memories"]
        return memories

    async def append(self, *events: Event) -> None:
        await self.log.append([encode(event) for event in events])

    async def consume(self) -> None:
        for partition, end in (await self.log.end()).items():
            consumer = self.consumers[partition]
            while consumer.position() < end:
                consumer.process(await self.log.read(partition, consumer.position()))

    @contextlib.asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        async def follow() -> None:
            while True:
                await self.consume()
                await asyncio.sleep(0.005)

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def ingestor(
    store: MemoryStore, generation: Generation, partition: int, embedder: HashingEmbedder, keyring: Keyring
) -> Ingestor:
    opened = store.partition(generation.name, partition, dimensions=embedder.dimensions)
    return Ingestor(
        generation=generation, partition=partition, store=opened, embedder=embedder, dead_letters=NoLetters(),
        keyring=keyring,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def running_stack(
    folder: Path,
    *,
    partitions: int = 3,
    log: EventLog | None = None,
    registry: Registry | None = None,
    keyring: Keyring | None = None,
    **settings: Any,
) -> AsyncIterator[Stack]:
    """Everything started; the generation `g1` is there and active. `log` and `registry`, not started, replace SQLite;
    without a `keyring` nothing is sealed."""
    embedder, store, clock = HashingEmbedder(), MemoryStore(), Clock()
    path = folder / "log.sqlite3"
    log = log or SqliteLog(path, topic="crewmem.events.v1", partitions=partitions, clock=lambda: clock().timestamp())
    registry = registry or SqliteRegistry(path, namespace="crewmem")
    store.open(namespace="crewmem")
    try:
        await log.start()
        await registry.start()
        generation = await generations.ensure_first(registry, embedder=embedder, partitions=log.partitions)
        given = load(ServiceSettings, home=folder, **settings)
        app = create_app(settings=given, log=log, registry=registry, store=store, embedder=embedder, clock=clock)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=60) as client:
            yield Stack(
                settings=given, log=log, registry=registry, store=store, embedder=embedder, clock=clock, app=app, client=client,
                consumers={
                    p: ingestor(store, generation, p, embedder, keyring or plain_keyring()) for p in range(log.partitions)
                },
            )  # fmt: skip
    finally:
        await log.close()
        await registry.close()


def refused_with(response: httpx.Response, status: int, code: str) -> None:
    """The answer is an error of this status and code, in the one shape."""
    body = response.json()
    assert (response.status_code, body["error"]) == (status, code), body
    assert set(body) == {"error", "message"} and body["message"]
