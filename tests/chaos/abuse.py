"""A third tenant that attacks all the time, with the weakest keys there are, through every door of both services.

It sends what `hostile.inputs` holds, floods of events, wrong keys, heads without an end and bodies that nobody reads. What
becomes of its own events is its own affair; that the other tenants go on being answered is counted (`Traffic`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE
from crewmem_producers.names import Scope
from hostile.deployment import cloud_event
from hostile.inputs import BODIES, LONG_TEXTS, QUESTIONS, TEXTS

TENANT = "abuser"
WRITER, READER = f"am_live_{10:032x}", f"am_live_{11:032x}"
"""A key that only writes, and one that only reads."""
PAUSE_SECONDS = 1.0
FLOOD_EVENTS = 500
HEAD_BYTES = 5_000_000
HANG_UP_SECONDS = 0.5

Attack = Callable[[], Awaitable[int]]
"""Sends one hostile thing; the status of the answer."""


def is_of_abuser(scope: str) -> bool:
    """Whether a scope, or the key of a record, belongs to the tenant that attacks."""
    return scope.startswith(f"{Scope.of(TENANT, 's').tenant}/")


class Abuser:
    """`urls` are the services; what was sent, and how it was answered, is counted by kind and by status."""

    def __init__(self, urls: list[str], *, dice: random.Random) -> None:
        self._urls, self._dice = urls, dice
        self._numbers = itertools.count()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            while True:
                for kind, attack in self._round(client):
                    self.counts[f"hostile calls: {kind}"] += 1
                    self.counts[f"answers to them: {await self._answer(attack)}"] += 1
                    await asyncio.sleep(PAUSE_SECONDS)

    async def _answer(self, attack: Attack) -> str:
        try:
            return str(await attack())
        except (httpx.HTTPError, OSError) as error:
            return f"none ({type(error).__name__})"

    def _round(self, client: httpx.AsyncClient) -> Iterator[tuple[str, Attack]]:
        """Every input once, of the long ones one, in another order each time."""
        attacks: list[tuple[str, Attack]] = [("a text remembered", self._remember(client, text)) for text in TEXTS.values()]
        attacks += [("a batch of texts", self._events(client, [{"content": text} for text in TEXTS.values()]))]
        attacks += [("an event over a limit", self._events(client, [body], kind)) for kind, body in BODIES.values()]
        attacks += [("a question", self._ask(client, question)) for question in QUESTIONS.values()]
        attacks += [("a question, and gone", self._ask(client, {"q": "x " * 5_000}, seconds=HANG_UP_SECONDS))] * 5
        attacks += [("a wrong key", self._ask(client, {"q": "x"}, key="am_live_wrong"))] * 5
        attacks += [("a head without an end", self._head), ("a body without a key", self._body(client))]
        attacks += [("a flood of events", self._flood(client))] * 4
        text = self._dice.choice(list(LONG_TEXTS.values()))
        attacks += [("a long output", self._events(client, [{"raw": text, "tasks": []}], "crewmem.kickoff.completed"))]
        self._dice.shuffle(attacks)
        yield from attacks

    def _url(self) -> str:
        return self._dice.choice(self._urls)

    def _remember(self, client: httpx.AsyncClient, text: str) -> Attack:
        return lambda: self._post(client, "/v1/memory/remember", key=WRITER, json={"content": text, "session": "s"})

    def _events(
        self, client: httpx.AsyncClient, bodies: list[dict[str, Any]], kind: str = "crewmem.memory.remembered"
    ) -> Attack:
        async def send() -> int:
            batch = await asyncio.to_thread(lambda: json.dumps([cloud_event(kind, body) for body in bodies]))
            return await self._post(client, "/v1/events", key=WRITER, content=batch)

        return send

    def _flood(self, client: httpx.AsyncClient) -> Attack:
        bodies = [{"content": f"flood {next(self._numbers)}"} for _ in range(FLOOD_EVENTS)]
        return self._events(client, bodies)

    def _ask(
        self, client: httpx.AsyncClient, question: dict[str, Any], *, key: str = READER, seconds: float = 60
    ) -> Attack:  # fmt: skip
        return lambda: self._post(client, "/v1/memory/recall", key=key, json=question, timeout=seconds)

    def _body(self, client: httpx.AsyncClient) -> Attack:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b"a" * 1_000_000

        return lambda: self._post(client, "/v1/events", key="none", content=chunks())

    async def _post(self, client: httpx.AsyncClient, path: str, *, key: str, **request: Any) -> int:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        if path == "/v1/events":
            headers["Content-Type"] = BATCH_CONTENT_TYPE
        return (await client.post(self._url() + path, headers=headers, **request)).status_code

    async def _head(self) -> int:
        """Writes until it is cut off. Raises AssertionError when it is not."""
        host, port = self._url().removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"GET / HTTP/1.1\r\nX-A: ")
            for _ in range(HEAD_BYTES // 65_536):
                writer.write(b"a" * 65_536)
                await writer.drain()
            status = await asyncio.wait_for(reader.readline(), 60)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return int(status.split()[1]) if status else 0
