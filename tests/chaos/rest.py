"""The last pass over REST, when everything rests: what must be live is listed and recalled in its session, and nowhere else;
what is forgotten is not."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

import httpx
from chaos.expected import Expected, Memory
from chaos.findings import BACK, DOUBLED, LEAKED, LOST, WRONG, Findings
from chaos.operators import AWAY_SECONDS
from chaos.traffic import Caller, Traffic, bearer
from chaos.workload import SESSIONS, TENANTS, owner_of, session_name
from crewmem_producers.names import Scope

MOST_RECALLS = 2000
"""Memories that are asked for one by one, at most (chosen by the seed); all of them are listed."""
ELSEWHERE = 0.2
"""The share of the questions that are asked in another session too."""
AT_ONCE = 4
PAGE = 100


class LastPass:
    """`wanted` is what the active generation must hold."""

    def __init__(self, traffic: Traffic, wanted: Expected, *, dice: random.Random, findings: Findings) -> None:
        self._traffic, self._wanted, self._dice, self._findings = traffic, wanted, dice, findings
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.listed = self.recalled = self.elsewhere = 0

    async def run(self, client: httpx.AsyncClient) -> None:
        shown: dict[str, dict[Memory, str]] = defaultdict(dict)
        for memory, content in self._wanted.shown.items():
            shown[memory[0]][memory] = content
        scopes = [Scope.of(tenant, session_name(number)) for tenant in TENANTS for number in range(SESSIONS)]
        await self._all(self._list(client, scope, shown[str(scope)]) for scope in scopes)
        asked = sorted(self._wanted.shown.items())
        chosen = self._dice.sample(asked, min(len(asked), MOST_RECALLS))
        await self._all(self._recall(client, memory, content) for memory, content in chosen)

    async def _all(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*work)

    def _caller(self, scope: Scope) -> Caller:
        return self._traffic.caller(scope.tenant)

    def _url(self) -> str:
        return self._dice.choice(self._traffic.urls)

    async def _list(self, client: httpx.AsyncClient, scope: Scope, wanted: dict[Memory, str]) -> None:
        async with self._gate:
            found = await self._answered(lambda: self._listing(client, scope))
        self.listed += len(found)
        seen = Counter((str(scope), memory["event_id"], memory["span"]) for memory in found)
        for memory in sorted(wanted.keys() - seen.keys()):
            self._findings.add(LOST, f"{memory} is not listed")
        for memory, count in seen.items():
            if count > 1:
                self._findings.add(DOUBLED, f"{memory} is listed {count} times")
        for one in found:
            self._compare(scope, (str(scope), one["event_id"], one["span"]), one["content"], wanted)

    def _compare(self, scope: Scope, memory: Memory, content: str, wanted: dict[Memory, str]) -> None:
        if owner_of(content) != (scope.tenant, scope.session):
            self._findings.add(LEAKED, f"{scope} lists {content!r}")
        elif memory not in wanted:
            kind = BACK if self._wanted.is_gone(memory) else WRONG
            self._findings.add(kind, f"{memory} is listed: {content!r}")
        elif content != wanted[memory]:
            self._findings.add(WRONG, f"{memory} is listed as {content!r}")

    async def _listing(self, client: httpx.AsyncClient, scope: Scope) -> Sequence[dict[str, Any]]:
        """All of a session, page by page from one service, since nothing changes any more."""
        url, found = self._url(), list[dict[str, Any]]()
        while True:
            ask = {"session": scope.session, "limit": PAGE, "offset": len(found)}
            response = await client.get(f"{url}/v1/memory/list", params=ask, headers=bearer(self._caller(scope)))
            answer = response.raise_for_status().json()
            found += answer["memories"]
            if not answer["memories"] or len(found) >= answer["total"]:
                return found

    async def _recall(self, client: httpx.AsyncClient, memory: Memory, content: str) -> None:
        """In its own session it is found; asked for in another, of its tenant or not, what is given is looked at as well."""
        scope = Scope.parse(memory[0])
        async with self._gate:
            found = await self._asked(client, self._caller(scope), content, scope.session)
            self.recalled += 1
            if memory[1:] not in {(one["event_id"], one["span"]) for one in found}:
                self._findings.add(LOST, f"{memory} is not recalled")
            if self._dice.random() < ELSEWHERE:
                caller, session = self._dice.choice(self._traffic.callers), session_name(self._dice.randrange(SESSIONS))
                if session.startswith(caller.prefix):
                    await self._asked(client, caller, content, session)
                    self.elsewhere += 1

    async def _asked(self, client: httpx.AsyncClient, caller: Caller, content: str, session: str) -> Sequence[dict[str, Any]]:
        return await self._answered(
            lambda: self._traffic.recall(client, caller, self._url(), content, session, top_k=5)
        )  # fmt: skip

    async def _answered(self, ask: Callable[[], Awaitable[Sequence[dict[str, Any]]]]) -> Sequence[dict[str, Any]]:
        """Asks until there is an answer: a service that was killed last may still be starting. Raises httpx.HTTPError."""
        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return await ask()
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
