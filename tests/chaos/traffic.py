"""What is asked during a run, and what must never be answered: recalls of two tenants over both services, without a pause.

Every answer is looked at at once: text of another tenant or session (leaked), and text that had been forgotten before the
question was asked (back). Crews that start right after another ask with its token, and must see what it published.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from chaos.findings import BACK, LEAKED, STARVED, UNSEEN, Findings
from chaos.workload import SESSIONS, TENANTS, Workload, owner_of, session_name
from crewmem_producers.errors import CrewmemError
from crewmem_producers.events import MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.publisher import Publisher

SEEN_SECONDS = 900.0
"""A crew asks for so long, since every part that answers it may be down meanwhile, and the machine busy."""
STARVED_SECONDS = 120.0
"""Longer than both services need to come back when they are killed together, on a busy machine."""
RECALL_PAUSE_SECONDS = 0.25
CREW_PAUSE_SECONDS = 1.0


class Unknown(Exception):
    """The service knows nothing that could be forgotten."""


@dataclass(frozen=True)
class Caller:
    """A key and what it may read: `prefix` of the sessions' names, all of them when it is empty."""

    tenant: str
    key: str
    prefix: str = ""


@dataclass
class Traffic:
    """`urls` are the services; what is asked is counted, and what must not be is one of the `findings`."""

    urls: list[str]
    callers: list[Caller]
    findings: Findings
    forgotten: dict[str, float] = field(default_factory=dict)
    """Event id -> when (monotonic) its forgetting was acknowledged."""
    erased: dict[tuple[str, str], tuple[float, datetime]] = field(default_factory=dict)
    """(tenant, session) -> when (monotonic) its forgetting was acknowledged, and the event's own time."""
    forgetting: set[tuple[str, str]] = field(default_factory=set)
    """(tenant, session) of what is being forgotten: its text may be gone before that is acknowledged."""
    ending: bool = False
    """No more is asked once a crew has seen what it waits for."""
    counts: Counter[str] = field(default_factory=Counter)
    answered: float | None = None
    """When (monotonic) a recall was answered last."""
    longest_gap_seconds: float = 0.0
    """The longest time without an answered recall."""

    def is_answered(self) -> None:
        """Notes that a recall was answered, or that none will be asked any more, and how long none was."""
        now = time.monotonic()
        gap = now - (now if self.answered is None else self.answered)
        self.answered, self.longest_gap_seconds = now, max(gap, self.longest_gap_seconds)
        if gap > STARVED_SECONDS:
            self.findings.add(STARVED, f"for {gap:.0f} s")

    def caller(self, tenant: str) -> Caller:
        return next(one for one in self.callers if one.tenant == tenant and not one.prefix)

    async def recalls(self, dice: random.Random, workloads: list[Workload], reached: dict[int, int]) -> None:
        """Asks until the end, for what any publisher has published, with any key; `reached`: publisher -> its next number."""
        self.answered = time.monotonic()
        async with httpx.AsyncClient(timeout=20) as client:
            while not self.ending:
                caller, workload = dice.choice(self.callers), dice.choice(workloads)
                event = workload.event(dice.randrange(max(1, reached[workload.publisher])))
                session = dice.choice(
                    ["*", event.scope.session if event.scope else "*", session_name(dice.randrange(SESSIONS))]
                )
                question = event.body.content if isinstance(event.body, MemoryRemembered) else event.id
                await self._ask(client, caller, dice.choice(self.urls), question, session)
                await asyncio.sleep(RECALL_PAUSE_SECONDS)

    async def _ask(self, client: httpx.AsyncClient, caller: Caller, url: str, question: str, session: str) -> None:
        try:
            memories = await self.recall(client, caller, url, question, session, top_k=20)
        except httpx.TransportError as error:
            self.counts[f"recalls without an answer ({type(error).__name__})"] += 1
            return
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            refused = status == 403 and not session.startswith(caller.prefix)
            self.counts["recalls refused by right" if refused else f"recalls without an answer ({status})"] += 1
            return
        self.counts["recalls answered"] += 1
        self.is_answered()
        self.counts["memories looked at"] += len(memories)

    async def recall(
        self, client: httpx.AsyncClient, caller: Caller, url: str, question: str, session: str, *, top_k: int
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The memories of one answer, each looked at. Raises httpx.HTTPError without one."""
        began = time.monotonic()
        ask: dict[str, Any] = {"q": question, "session": session, "top_k": top_k}
        response = await client.post(f"{url}/v1/memory/recall", json=ask, headers=bearer(caller))
        memories: list[dict[str, Any]] = response.raise_for_status().json()["memories"]
        for memory in memories:
            self._look(memory, caller, session, began)
        return memories

    def _look(self, memory: dict[str, Any], caller: Caller, session: str, began: float) -> None:
        owner = owner_of(memory["content"])
        its = (caller.tenant, memory["session"])
        if owner != its or session not in ("*", its[1]) or not its[1].startswith(caller.prefix):
            self.findings.add(LEAKED, f"{caller} asked for {session!r} and got {memory['content']!r}")
        if self.forgotten.get(memory["event_id"], began) < began:
            self.findings.add(BACK, f"{memory['event_id']} in a recall: {memory['content']!r}")
        acknowledged, until = self.erased.get((caller.tenant, memory["session"]), (began, None))
        if until is not None and acknowledged < began and datetime.fromisoformat(memory["created_at"]) <= until:
            self.findings.add(BACK, f"{memory['event_id']} of a forgotten session: {memory['content']!r}")

    async def crews(self, dice: random.Random, workload: Workload, publisher: Publisher, acknowledged: set[int]) -> None:
        """One crew after the other: publishes a fact, and the next one, at any service, must see it."""
        number = 0
        async with httpx.AsyncClient(timeout=40) as client:
            while not self.ending:
                if workload.is_fact(number):
                    event = workload.event(number)
                    receipt = await publisher.apublish(event)
                    acknowledged.add(number)
                    assert isinstance(event.body, MemoryRemembered) and event.scope is not None
                    try:
                        await self._must_see(dice, client, event.body.content, event.scope, await receipt.atoken(SEEN_SECONDS))
                    except CrewmemError as error:
                        self.findings.add(UNSEEN, f"no token for {event.id}: {error}")
                number += 1
                await asyncio.sleep(CREW_PAUSE_SECONDS)

    async def _must_see(
        self, dice: random.Random, client: httpx.AsyncClient, content: str, scope: Scope, token: str
    ) -> None:  # fmt: skip
        began = time.monotonic()
        while time.monotonic() - began < SEEN_SECONDS:
            answer = await self.after(client, dice.choice(self.urls), content, scope, token)
            if answer is not None and answer["fresh"]:
                self.counts["hand-offs"] += 1
                said = {memory["content"] for memory in answer["memories"]}
                if content not in said and (scope.tenant, scope.session) not in self.forgetting:
                    self.findings.add(UNSEEN, f"after {token}: {content!r}")
                return
            await asyncio.sleep(0.2)
        self.findings.add(UNSEEN, f"no fresh answer within {SEEN_SECONDS:.0f} s after {token}")

    async def after(
        self, client: httpx.AsyncClient, url: str, question: str, scope: Scope, token: str
    ) -> dict[str, Any] | None:  # fmt: skip
        """A recall that waits for the token; None when no answer came."""
        ask = {"q": question, "session": scope.session, "after": token, "wait_seconds": 20, "top_k": 20}
        try:
            response = await client.post(f"{url}/v1/memory/recall", json=ask, headers=bearer(self.caller(scope.tenant)))
        except httpx.TransportError:
            return None
        answer: dict[str, Any] | None = response.json() if response.status_code == 200 else None
        return answer

    async def forget(self, client: httpx.AsyncClient, url: str, event_id: str, tenant: str) -> str | None:
        """Forgets an event's memories over REST: "" once they are gone, a token while they are not, None without an answer.

        Raises Unknown: the view holds all of the log, and none of them.
        """
        try:
            response = await client.delete(
                f"{url}/v1/memory/forget/{event_id}", params={"wait_seconds": 20}, headers=bearer(self.caller(tenant))
            )
        except httpx.TransportError:
            return None
        if response.status_code == 404:
            raise Unknown(event_id)
        return str(response.json().get("token", "")) if response.status_code in (200, 202) else None


def bearer(caller: Caller) -> dict[str, str]:
    """What a call says of who it is."""
    return {"Authorization": f"Bearer {caller.key}"}


def callers(key_of: dict[str, str], narrow: str) -> list[Caller]:
    """A key of each tenant, and one that may read sessions `s0*` of the first only."""
    return [*(Caller(tenant, key_of[tenant]) for tenant in TENANTS), Caller(TENANTS[0], narrow, prefix="s0")]
